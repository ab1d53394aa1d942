# The program that runs is the one before: the new one takes over from it, and no connection is lost. Where it can't, the
# one before goes on, and that is no failure of the installation.
upgrade_what_runs() {
    /usr/lib/lbctl/control-sockets | while read -r socket; do
        [ -S "$socket" ] || continue
        lbctl upgrade --control "$socket" || {
            echo "lbctl: the version before goes on serving ($socket). To start the new one: systemctl restart lbctl," >&2
            echo "lbctl: which gives the addresses to the other node first." >&2
        }
    done
}
