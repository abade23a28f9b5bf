# The provider's router of fabric.yaml.
#
# For a moment without any edge, and while a kernel exchanges a route of IPv6 (BIRD deletes it first),
# packets for the pools are dropped in silence: an ICMP error would end connections that just begin.
ip route replace blackhole 198.51.100.0/26
ip -6 route replace blackhole 2001:db8:f::/108
exec bird -f -c fabric-router.conf -s "$DIR/bird.ctl" -P "$DIR/bird.pid"
