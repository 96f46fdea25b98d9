# Fails to start as long as a file exists, then is the ordinary probe: failing.sh FILE COUNTER PROBE
echo start >>"$2"
if [ -e "$1" ]; then
	echo "not today" >&2
	exit 7
fi
exec /usr/bin/python3 -S -u "$3"
