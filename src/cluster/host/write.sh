# Puts one file in place, or takes it away: write.sh VERB PATH EXPECT WANTED MODE OWNER TEMPORARY FOLDER...
# VERB: put (its bytes are the standard input) or take. EXPECT: sha256 of what must stand there now, `-`: nothing may.
# WANTED: sha256 of the new bytes, so that an input which was cut off is never put in place. MODE: octal, or `-`. OWNER: `UID:GID`, or `-`.
# The last line says how it ended: `=done`, or a mark and what it is about. Until the rename the old file is untouched.
set -u
umask 077
LC_ALL=C PATH="$PATH:/usr/bin:/bin:/usr/sbin:/sbin"
export LC_ALL PATH
verb=$1 path=$2 expect=$3 wanted=$4 mode=$5 owner=$6 temporary=$7
shift 7
fresh= made=
clean() {
    [ -z "$fresh" ] || rm -f "$fresh"
    set -f
    IFS='
'
    for folder in $made; do rmdir "$folder" 2>/dev/null; done
}
end() {
    printf '=%s\n' "$*"
    exit 0
}
sum() {
    digest=$(sha256sum <"$1") || return 1
    echo "${digest%% *}"
}
# What was written reaches the disk; a `sync` that takes no names flushes everything.
flush() {
    said=$(sync "$1" 2>&1) && return
    case $said in *sage* | *'nvalid '* | *'extra operand'* | *'ermission denied'*) sync ;; *) echo "$said" >&2; end failed ;; esac
}
# Where the present file is not what was expected, nothing is done.
same() {
    if [ ! -e "$real" ] && [ ! -L "$real" ]; then
        [ "$expect" = - ] || end gone
    elif [ ! -f "$real" ]; then
        end nofile
    elif [ "$expect" = - ]; then
        end stands
    else
        now=$(sum "$real") || end failed
        [ "$now" = "$expect" ] || end other "$now"
    fi
}
command -v sha256sum >/dev/null || { echo 'sha256sum is not there' >&2; end failed; }
real=$path
if [ -L "$path" ]; then
    [ "$verb" = put ] || end link
    real=$(readlink -f "$path") && [ -e "$real" ] || end dangling
fi
parent=${real%/*}
parent=${parent:-/}
above=$parent
while [ ! -e "$above" ] && [ ! -L "$above" ]; do
    above=${above%/*}
    above=${above:-/}
done
if [ -d "$above" ] && [ ! -x "$above" ]; then
    echo "$above: Permission denied" >&2
    end failed
fi
same

if [ "$verb" = take ]; then
    if [ "$expect" != - ]; then
        rm -f "$real" || end failed
        flush "$parent"
    fi
    # Deepest first, as they are given.
    for folder do
        if [ -d "$folder" ] && [ ! -L "$folder" ]; then
            find "$folder" -maxdepth 1 -type f -name '.castoff-*' -mmin +5 -exec rm -f {} \; 2>/dev/null
            if rmdir "$folder" 2>/dev/null; then
                above=${folder%/*}
                flush "${above:-/}"
            fi
        fi
    done
    end done
fi

trap clean EXIT
trap 'exit 1' HUP INT TERM PIPE
# The list is deepest first: folders are made from its end.
left=$#
while [ "$left" -gt 0 ]; do
    eval "folder=\${$left}"
    left=$((left - 1))
    if [ ! -e "$folder" ] && [ ! -L "$folder" ]; then
        mkdir "$folder" || end failed
        # Deepest first.
        made="$folder
$made"
        chmod 755 "$folder" || end failed
        if command -v restorecon >/dev/null; then restorecon "$folder" >/dev/null 2>&1; fi
        above=${folder%/*}
        flush "${above:-/}"
    fi
done
[ -d "$parent" ] || end nofolder
# What an earlier attempt left that was killed.
find "$parent" -maxdepth 1 -type f -name '.castoff-*' -mmin +5 -exec rm -f {} \; 2>/dev/null
set -C
true >"$parent/$temporary" || end failed
set +C
fresh=$parent/$temporary
cat >"$fresh" || end failed
now=$(sum "$fresh") || end failed
[ "$now" = "$wanted" ] || end cut
label='?'
if [ -e "$real" ]; then
    present=$(stat -c %u:%g "$real") && old=$(stat -c %a "$real") || end failed
    label=$(stat -c %C "$real" 2>/dev/null)
else
    old=644
    present=$(stat -c %u:%g "$fresh") || end failed
    # A user who is not root cannot give files away.
    if [ "$(id -u)" = 0 ]; then present=$(stat -c %u:%g "$parent") || end failed; fi
fi
[ "$mode" = - ] && mode=$old
[ "$owner" = - ] && owner=$present
[ "$(stat -c %u:%g "$fresh")" = "$owner" ] || chown -- "$owner" "$fresh" || end failed
chmod "$mode" "$fresh" || end failed
case $label in
*:*) [ "$(stat -c %C "$fresh")" = "$label" ] || chcon "$label" "$fresh" || end failed ;;
esac
flush "$fresh"
same
mv -f "$fresh" "$real" || end failed
fresh= made=
if [ "$expect" = - ] && command -v restorecon >/dev/null; then restorecon "$real" >/dev/null 2>&1; fi
flush "$parent"
end done
