//! Why a packet was dropped.

use std::time::Duration;

/// The first check that a received packet failed. Each has a counter of its own.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// Not an IPv4 packet with an unfragmented VRRP message in it.
    #[error("no whole VRRP message in an IPv4 packet")]
    Packet,
    /// RFC 9568 §7.1: TTL or hop limit must be 255, or the packet came from another network. By unicast it may be as low as
    /// [`crate::transport::Unicast::minimum_ttl`].
    #[error("ttl is {got}, not {least}{}", if *least == 255 { "" } else { " or more" })]
    Ttl {
        /// On the packet.
        got: u8,
        /// 255, but for unicast.
        least: u8,
    },
    /// Unicast hears the nodes of the file alone.
    #[error("source is no peer of the file")]
    NotAPeer,
    /// Neither 2 nor 3, or not the version of this virtual router.
    #[error("version {got} is not what this virtual router speaks")]
    Version {
        /// On the packet.
        got: u8,
    },
    /// RFC 9568 §5.2.2: unknown types are dropped.
    #[error("type {got} is not 1 (advertisement)")]
    Type {
        /// On the packet.
        got: u8,
    },
    /// Shorter than its fixed part, or than its count of addresses says.
    #[error("message is {length} bytes long, needs {needed}")]
    TooShort {
        /// Of the message.
        length: usize,
        /// By its header.
        needed: usize,
    },
    /// Bytes after the end that the count of addresses gives.
    #[error("message is {length} bytes long, ends after {needed}")]
    TrailingBytes {
        /// Of the message.
        length: usize,
        /// By its header.
        needed: usize,
    },
    /// Neither form of the sum fits.
    #[error("checksum is wrong")]
    Checksum,
    /// Not configured on this interface: perhaps another cluster.
    #[error("vrid {got} is not configured on this interface")]
    Vrid {
        /// On the packet.
        got: u8,
    },
    /// RFC 9568 erratum 8299: a count of 0 is invalid.
    #[error("count of addresses is 0")]
    CountZero,
    /// RFC 9568 erratum 8301: an interval of 0 is invalid. Adopting it would make a Backup take over at once.
    #[error("advertisement interval is 0")]
    IntervalZero,
    /// RFC 3768 §7.1: a VRRPv2 interval has to be the configured one.
    #[error("advertisement interval is {got:?}, not {want:?} (VRRPv2 does not adopt)")]
    IntervalMismatch {
        /// On the packet.
        got: Duration,
        /// Configured.
        want: Duration,
    },
    /// RFC 3768 §7.1: authentication of a type that is not configured.
    #[error("authentication type {got} is not {want} ({})", if *want == 0 { "none" } else { "password" })]
    AuthenticationType {
        /// On the packet.
        got: u8,
        /// Configured: 0 without and 1 with a password.
        want: u8,
    },
    /// VRRPv2 with another password than the configured one.
    #[error("the password is not ours")]
    Password,
    /// It has to be, see [`crate::authentication`].
    #[error("it is not signed")]
    Unsigned,
    /// Somebody else's secret, or it was changed on its way.
    #[error("it is signed with another secret than ours")]
    Signature,
    /// It, or a later one of the same run of its sender, was heard before.
    #[error("it was heard before")]
    Replayed,
    /// RFC 9568 §5.1.2.1: over IPv6 the source is the link-local address of the sender.
    #[error("source is not a link-local address")]
    SourceNotLinkLocal,
    /// RFC 9568 erratum 8300: the first IPv6 address has to be link-local.
    #[error("first address is not link-local")]
    FirstAddressNotLinkLocal,
}

impl DecodeError {
    /// Every name that [`counter`](Self::counter) can return.
    pub const COUNTERS: [&str; 19] = [
        "reject_packet",
        "reject_ttl",
        "reject_not_a_peer",
        "reject_version",
        "reject_type",
        "reject_too_short",
        "reject_trailing_bytes",
        "reject_checksum",
        "reject_vrid",
        "reject_count_zero",
        "reject_interval_zero",
        "reject_interval_mismatch",
        "reject_authentication_type",
        "reject_password",
        "reject_unsigned",
        "reject_signature",
        "reject_replayed",
        "reject_source_not_link_local",
        "reject_first_address_not_link_local",
    ];

    /// Rightly made, it seems, by a router with other settings: another cluster, or a node whose file is another one.
    pub const fn is_of_other_settings(&self) -> bool {
        matches!(
            self,
            Self::Version { .. }
                | Self::NotAPeer
                | Self::AuthenticationType { .. }
                | Self::Password
                | Self::IntervalMismatch { .. }
        )
    }

    /// Name of the counter of this reason; stable, part of what `lbctl status --json` shows.
    pub const fn counter(&self) -> &'static str {
        match self {
            Self::Packet => "reject_packet",
            Self::Ttl { .. } => "reject_ttl",
            Self::NotAPeer => "reject_not_a_peer",
            Self::Version { .. } => "reject_version",
            Self::Type { .. } => "reject_type",
            Self::TooShort { .. } => "reject_too_short",
            Self::TrailingBytes { .. } => "reject_trailing_bytes",
            Self::Checksum => "reject_checksum",
            Self::Vrid { .. } => "reject_vrid",
            Self::CountZero => "reject_count_zero",
            Self::IntervalZero => "reject_interval_zero",
            Self::IntervalMismatch { .. } => "reject_interval_mismatch",
            Self::AuthenticationType { .. } => "reject_authentication_type",
            Self::Password => "reject_password",
            Self::Unsigned => "reject_unsigned",
            Self::Signature => "reject_signature",
            Self::Replayed => "reject_replayed",
            Self::SourceNotLinkLocal => "reject_source_not_link_local",
            Self::FirstAddressNotLinkLocal => "reject_first_address_not_link_local",
        }
    }
}
