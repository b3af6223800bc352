#!/bin/sh
# OpenStack Swift's S3 API on 127.0.0.1:$2 with its data in $1: an S3 which checks signatures. Ends, with all its servers, on TERM.
set -eu
place=$1 port=${2:-58088}
mkdir -p "$place/etc" "$place/devices/sda"
cd "$place/etc"
printf '[swift-hash]\nswift_hash_path_prefix = a\nswift_hash_path_suffix = b\n[storage-policy:0]\nname = p0\ndefault = yes\n' >swift.conf
server() { # name port
    swift-ring-builder "$1.builder" create 4 1 1 >/dev/null
    swift-ring-builder "$1.builder" add "r1z1-127.0.0.1:$2/sda" 1 >/dev/null
    swift-ring-builder "$1.builder" rebalance >/dev/null || true
    cat >"$1-server.conf" <<CONF
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $2
devices = $place/devices
mount_check = false
swift_dir = $place/etc
workers = 1
user = $(id -un)
[pipeline:main]
pipeline = $1-server
[app:$1-server]
use = egg:swift#$1
CONF
}
server account $((port + 1))
server container $((port + 2))
server object $((port + 3))
cat >proxy-server.conf <<CONF
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $port
swift_dir = $place/etc
workers = 2
user = $(id -un)
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache bulk s3api tempauth copy slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_hub_tester = secretkey .admin
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:$((port + 4))
CONF
for name in catch_errors gatekeeper healthcheck bulk copy slo dlo; do
    printf '[filter:%s]\nuse = egg:swift#%s\n' "$name" "$name" >>proxy-server.conf
done
# Each server makes a session of its own, so each is ended by its id.
servers=""
start() {
    "$@" >"$place/$(basename "$1").log" 2>&1 &
    servers="$servers $!"
}
trap 'kill $servers 2>/dev/null || true' EXIT
trap 'exit 0' TERM INT
start memcached -l 127.0.0.1 -p $((port + 4)) -u "$(id -un)"
for name in account container object; do
    start "swift-$name-server" "$place/etc/$name-server.conf"
done
start swift-proxy-server "$place/etc/proxy-server.conf"
wait
