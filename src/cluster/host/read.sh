# Prints the files that are named as arguments, one after the other. Marks begin with `=`, which no base64 line does.
LC_ALL=C PATH="$PATH:/usr/bin:/bin:/usr/sbin:/sbin"
export LC_ALL PATH
# Whether the nearest folder above a path lets us see what is in it.
seen() {
    above=${1%/*}
    while [ -n "$above" ] && [ ! -e "$above" ] && [ ! -L "$above" ]; do above=${above%/*}; done
    [ ! -d "${above:-/}" ] || [ -x "${above:-/}" ]
}
one() {
    if [ -L "$1" ]; then
        echo =link
        readlink -f "$1" | base64
        [ -e "$1" ] || { seen "$1" && echo =dangling || echo =denied; return; }
    elif [ ! -e "$1" ]; then
        seen "$1" && echo =absent || echo =denied
        return
    fi
    [ ! -d "$1" ] || { echo =folder; return; }
    [ -f "$1" ] || { echo =device; return; }
    [ -r "$1" ] || { echo =denied; return; }
    facts=$(stat -L -c '%a %u:%g %s' "$1") || { echo =failed; return; }
    [ "${facts##* }" -le "$most" ] || { echo =large; return; }
    label=$(stat -L -c %C "$1" 2>/dev/null)
    echo "=file ${facts% *} ${label:-?}"
    base64 <"$1" || echo =failed
}
most=$1
shift
command -v base64 >/dev/null || { echo 'base64 is not there' >&2; exit 127; }
for path do
    echo =path
    one "$path"
done
echo =over
