#!/bin/sh
# nginx on the worker's socket, bound by itself or handed over: nginx.sh PROGRAM PREFIX
# The configuration is written when the worker starts, because the socket's path is only known then.
set -eu
program=$1
prefix=$2
mkdir -p "$prefix/files" "$prefix/tmp"
cat >"$prefix/nginx.conf" <<CONF
daemon off;
pid $prefix/nginx.pid;
error_log stderr warn;
worker_processes 1;
user root;
events {}
http {
    access_log off;
    client_body_temp_path $prefix/tmp/body;
    proxy_temp_path $prefix/tmp/proxy;
    fastcgi_temp_path $prefix/tmp/fastcgi;
    uwsgi_temp_path $prefix/tmp/uwsgi;
    scgi_temp_path $prefix/tmp/scgi;
    client_max_body_size 0;
    server {
        listen unix:$RIVET_SOCKET;
        location = /hello { return 200 "hello from nginx, \$args"; }
        location = /connection { return 200 "\$connection_requests"; }
        location / { root $prefix/files; dav_methods PUT DELETE; }
    }
}
CONF
[ -z "${LISTEN_FDS-}" ] || export NGINX='3;'
exec "$program" -e stderr -p "$prefix" -c "$prefix/nginx.conf"
