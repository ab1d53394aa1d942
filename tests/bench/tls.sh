# What TLS and HTTP/2 cost: read by tests/bench/run, whose functions it uses. Each kind of work is a row of its own.
#   handshake  a full handshake, TLS 1.3, ECDSA P-256 (openssl s_time)
#   resumed    a handshake from a ticket, TLS 1.2, since s_time resumes nothing newer
#   request    a keep-alive request over TLS 1.3 (wrk)
#   h2         a request of 100 at once on one of four connections over TLS 1.3 (h2load)
#   bulk       a gigabyte over one connection (curl)
# shellcheck shell=bash disable=SC2154  # its variables are those of run

tls_certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=bench -addext subjectAltName=DNS:bench \
        -keyout "$dir/key.pem" -out "$dir/cert.pem" 2>/dev/null
    cat "$dir/cert.pem" "$dir/key.pem" >"$dir/site.pem"
    chmod a+r "$dir"/*.pem
}

start_tls_lbctl() {
    cat >"$dir/lbctl.toml" <<CONF
[global]
threads = $threads
maxconn = 5000

[listen.bench]
bind    = { address = "127.0.0.1:${port[lbctl]}", tls = "$dir/site.pem" }
maxconn = 5000
timeout = { client = "600s", server = "600s", http_keep_alive = "600s" }
check   = false
servers = ["$backend"]
CONF
    "$LBCTL" run --runtime-dir "$dir/run" "$dir/lbctl.toml" >"$dir/lbctl.log" 2>&1 &
    pid[lbctl]=$!
}

start_tls_haproxy() {
    cat >"$dir/haproxy.cfg" <<CONF
global
  nbthread $threads
  maxconn 5000
defaults
  mode http
  maxconn 5000
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
  http-reuse always
listen bench
  bind 127.0.0.1:${port[haproxy]} ssl crt $dir/site.pem alpn h2,http/1.1
  server web $backend
CONF
    haproxy -db -f "$dir/haproxy.cfg" >"$dir/haproxy.log" 2>&1 &
    pid[haproxy]=$!
}

start_tls_nginx() {
    cat >"$dir/nginx.conf" <<CONF
daemon off; pid $dir/nginx.pid; error_log $dir/nginx.log; worker_processes $threads;
$(as_root)
events { worker_connections 5000; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
  ssl_certificate $dir/site.pem; ssl_certificate_key $dir/site.pem; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets on;
  upstream web { server $backend; keepalive 1000; keepalive_requests 1000000000; }
  server { listen 127.0.0.1:${port[nginx]} ssl http2 backlog=4096;
    location / { proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection ""; } } }
CONF
    nginx -c "$dir/nginx.conf" 2>"$dir/nginx.err" &
    pid[nginx]=$!
}

wait_for_tls() { # NAME
    local try
    for try in $(seq 100); do
        curl -sk -o /dev/null --max-time 1 "https://127.0.0.1:${port[$1]}/" && return 0
        sleep 0.05
    done
    echo "$1 does not answer:" >&2
    tail -n 5 "$dir/$1".* >&2
    exit 1
}

# tls_load KIND PORT: the load of one round; prints how many units were done.
tls_load() {
    local address=127.0.0.1:$2
    case $1 in
    handshake)
        openssl s_time -connect "$address" -new -time "$seconds" >"$dir/load" 2>&1
        awk '/connections in .* real seconds/ { print $1 }' "$dir/load"
        ;;
    resumed)
        openssl s_time -connect "$address" -reuse -tls1_2 -time "$seconds" >"$dir/load" 2>&1
        # An r for each that was resumed; what was not is no unit, and more than a few are an error.
        tr -cd 'r*\n' <"$dir/load" | awk '/^[r*]+$/ { all += length; resumed += gsub("r", "") }
            END { if (resumed < all * 0.99) exit 1; print resumed }'
        ;;
    request)
        wrk -t1 -c"$connections" -d"${seconds}s" "https://$address/" >"$dir/load"
        ! grep -Eq 'Non-2xx|Socket errors' "$dir/load" && awk '/requests in/ { print $1 }' "$dir/load"
        ;;
    h2)
        h2load -t1 -c4 -m100 -D "$seconds" "https://$address/" >"$dir/load"
        awk '/^requests:/ { if ($10 + $12 + $14 > 0) exit 1; print $8 }' "$dir/load"
        ;;
    bulk)
        for _ in $(seq "$gigabytes"); do
            curl -sk --http1.1 --max-time 60 -o /dev/null -w '%{size_download}\n' "https://$address/big" >"$dir/load"
            [ "$(cat "$dir/load")" = 1073741824 ] || return 1
        done
        awk -v n="$gigabytes" 'BEGIN { print n * 1.073741824 }'
        ;;
    esac
}

measure_tls() {
    local peers=(${PEERS:-lbctl haproxy nginx}) kinds=(${KINDS:-handshake resumed request h2 bulk}) name kind round before units
    for name in openssl h2load; do
        command -v $name >/dev/null || { echo "$name is missing: tests/run installs it" >&2; exit 1; }
    done
    tls_certificate
    start_backend
    for name in "${peers[@]}"; do
        "start_tls_$name"
        wait_for_tls "$name"
    done
    for kind in "${kinds[@]}"; do
        for round in $(seq "$rounds"); do
            for name in "${peers[@]}"; do
                before=$(cpu_ticks "${pid[$name]}")
                units=$(tls_load "$kind" "${port[$name]}") && [ "${units:-0}" != 0 ] || {
                    echo "$kind of $name went wrong:" >&2
                    tail -n 20 "$dir/load" >&2
                    exit 1
                }
                awk -v ticks=$(($(cpu_ticks "${pid[$name]}") - before)) -v n="$units" -v t="$tick" \
                    'BEGIN { printf "%.2f\n", ticks / t / n * 1e6 }' >>"$dir/$kind.$name"
                echo "round $round: $kind $name $(tail -n1 "$dir/$kind.$name") us" >&2
            done
        done
    done
    {
        echo "| Work | Proxy | CPU | CPU beside HAProxy | bar |"
        echo "|---|---|---|---|---|"
        for kind in "${kinds[@]}"; do
            for name in "${peers[@]}"; do
                printf '| %s | %s | %s | %s | %s |\n' "$kind" "$name" "$(tls_figure "$kind" "$(median <"$dir/$kind.$name")")" \
                    "$(beside "$kind" "$name")" "$([ "$name" = lbctl ] && tls_bar "$kind" || echo -)"
            done
        done
    } >"$dir/table"
    for kind in "${kinds[@]}"; do
        bar "$kind" lbctl haproxy "$(tls_bar "$kind")"
    done
}

tls_bar() {
    case $1 in request | h2) echo 0.80 ;; *) echo 1.00 ;; esac
}

tls_figure() { # KIND MICROSECONDS
    case $1 in
    bulk) awk -v us="$2" 'BEGIN { printf "%.3f s per GB", us / 1e6 }' ;;
    *) printf '%s us' "$2" ;;
    esac
}
