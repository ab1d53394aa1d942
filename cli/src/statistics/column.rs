//! The columns, in HAProxy's order. Tools find them by name or by place, so none may ever be moved.

/// What HAProxy says of a column in its JSON: where it comes from, what it is, whose it is, and its type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Tags {
    pub(super) origin: &'static str,
    pub(super) nature: &'static str,
    pub(super) scope: &'static str,
    pub(super) kind: &'static str,
}

macro_rules! columns {
    ($($column:ident = $name:literal, $origin:ident $nature:ident $scope:ident $kind:ident;)*) => {
        /// A column of HAProxy's statistics.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[expect(missing_docs, reason = "HAProxy's management guide, section 9.1, explains them")]
        pub enum Column {
            $($column,)*
        }

        impl Column {
            /// All of them, in their order.
            pub const ALL: &[Self] = &[$(Self::$column,)*];

            /// As in the first line of the CSV.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$column => $name,)*
                }
            }

            pub(super) const fn tags(self) -> Tags {
                match self {
                    $(Self::$column => Tags {
                        origin: stringify!($origin),
                        nature: stringify!($nature),
                        scope: stringify!($scope),
                        kind: stringify!($kind),
                    },)*
                }
            }
        }
    };
}

columns! {
    Pxname = "pxname", Key Name Service str;
    Svname = "svname", Key Name Service str;
    Qcur = "qcur", Metric Gauge Process u32;
    Qmax = "qmax", Metric Max Process u32;
    Scur = "scur", Metric Gauge Process u32;
    Smax = "smax", Metric Max Process u32;
    Slim = "slim", Config Limit Process u32;
    Stot = "stot", Metric Counter Process u64;
    Bin = "bin", Metric Counter Process u64;
    Bout = "bout", Metric Counter Process u64;
    Dreq = "dreq", Metric Counter Process u64;
    Dresp = "dresp", Metric Counter Process u64;
    Ereq = "ereq", Metric Counter Process u64;
    Econ = "econ", Metric Counter Process u64;
    Eresp = "eresp", Metric Counter Process u64;
    Wretr = "wretr", Metric Counter Process u64;
    Wredis = "wredis", Metric Counter Process u64;
    Status = "status", Status Gauge Process str;
    Weight = "weight", Metric Avg Process u32;
    Act = "act", Status Gauge Process u32;
    Bck = "bck", Status Gauge Process u32;
    Chkfail = "chkfail", Metric Counter Process u64;
    Chkdown = "chkdown", Metric Counter Process u64;
    Lastchg = "lastchg", Metric Age Process u32;
    Downtime = "downtime", Metric Counter Process u32;
    Qlimit = "qlimit", Config Gauge Service u32;
    Pid = "pid", Key Gauge Process u32;
    Iid = "iid", Key Gauge Service u32;
    Sid = "sid", Key Gauge Service u32;
    Throttle = "throttle", Metric Avg Process u32;
    Lbtot = "lbtot", Metric Counter Process u64;
    Tracked = "tracked", Config Name Service str;
    Type = "type", Config Gauge Service u32;
    Rate = "rate", Metric Rate Process u32;
    RateLim = "rate_lim", Config Limit Process u32;
    RateMax = "rate_max", Metric Max Process u32;
    CheckStatus = "check_status", Metric Output Process str;
    CheckCode = "check_code", Metric Output Process u32;
    CheckDuration = "check_duration", Metric Duration Process u64;
    Hrsp1xx = "hrsp_1xx", Metric Counter Process u64;
    Hrsp2xx = "hrsp_2xx", Metric Counter Process u64;
    Hrsp3xx = "hrsp_3xx", Metric Counter Process u64;
    Hrsp4xx = "hrsp_4xx", Metric Counter Process u64;
    Hrsp5xx = "hrsp_5xx", Metric Counter Process u64;
    HrspOther = "hrsp_other", Metric Counter Process u64;
    Hanafail = "hanafail", Metric Counter Process u64;
    ReqRate = "req_rate", Metric Rate Process u32;
    ReqRateMax = "req_rate_max", Metric Max Process u32;
    ReqTot = "req_tot", Metric Counter Process u64;
    CliAbrt = "cli_abrt", Metric Counter Process u64;
    SrvAbrt = "srv_abrt", Metric Counter Process u64;
    CompIn = "comp_in", Metric Counter Process u64;
    CompOut = "comp_out", Metric Counter Process u64;
    CompByp = "comp_byp", Metric Counter Process u64;
    CompRsp = "comp_rsp", Metric Counter Process u64;
    Lastsess = "lastsess", Metric Age Process s32;
    LastChk = "last_chk", Metric Output Process str;
    LastAgt = "last_agt", Metric Output Process str;
    Qtime = "qtime", Metric Avg Process u32;
    Ctime = "ctime", Metric Avg Process u32;
    Rtime = "rtime", Metric Avg Process u32;
    Ttime = "ttime", Metric Avg Process u32;
}
