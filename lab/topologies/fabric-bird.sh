# BIRD on an edge of fabric.yaml: what `fairlead routing config bird` writes, as soon as there is something
# to announce.
cd "$DIR" || exit 1
until fairlead --socket "$DIR/run/fairlead.sock" routing config bird --neighbor 10.0.1.1 \
	--neighbor fd00:1::1 --as 64512 --local-as 64513 >fairlead.conf 2>/dev/null; do
	sleep 1
done
id=$(ip -4 -o addr show dev eth0 | sed -n 's/.* inet \([0-9.]*\).*/\1/p')
printf 'router id %s;\nprotocol device {}\ninclude "fairlead.conf";\n' "$id" >bird.conf
exec bird -f -c "$DIR/bird.conf" -s "$DIR/bird.ctl" -P "$DIR/bird.pid"
