#!/bin/sh
# An actor in POSIX shell: socat takes the connections, this script answers one request on each.
#
#     rivet-runnerd --config docs/examples/sh/rivet-runnerd.json --foreground
#
# GET tells which actor answers; POST sends the body back in capitals.
set -eu

serve() {
	WORKER=$0
	export WORKER
	# shellcheck disable=SC2016 # the shell that socat starts expands it
	exec socat "UNIX-LISTEN:$RIVET_SOCKET,backlog=128,fork" 'SYSTEM:sh \"$WORKER\" answer'
}

# answer_head STATUS CONTENT_LENGTH
answer_head() {
	printf 'HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %s\r\nConnection: close\r\n\r\n' "$1" "$2"
}

# answer_text STATUS TEXT
answer_text() {
	answer_head "$1" "$(printf '%s\n' "$2" | wc -c)"
	[ "$method" = HEAD ] || printf '%s\n' "$2"
}

answer() {
	read -r method path _
	length=0
	while read -r name value && name=${name%"$cr"} && [ -n "$name" ]; do
		case $name in
		[Cc]ontent-[Ll]ength:) length=${value%"$cr"} ;;
		[Tt]ransfer-[Ee]ncoding:) length=unknown ;;
		esac
	done
	case $method-$path-$length in
	*-/.rivet/*) answer_text '404 Not Found' 'no life cycle calls, please' ;;
	GET-* | HEAD-*) answer_text '200 OK' "Hello from $RIVET_ACTOR_NAME $RIVET_ACTOR_KEY" ;;
	POST-*-unknown) answer_text '411 Length Required' 'say how long the body is' ;;
	POST-*)
		answer_head '200 OK' "$length"
		head -c "$length" | LC_ALL=C tr '[:lower:]' '[:upper:]'
		;;
	*) answer_text '405 Method Not Allowed' 'GET or POST' ;;
	esac
}

cr=$(printf '\r')
case ${1-} in
answer) answer ;;
*) serve ;;
esac
