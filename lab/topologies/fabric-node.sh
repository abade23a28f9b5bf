# Makes a machine of fabric.yaml a node, as the README has it, and runs it: "init" or "join", and its
# options. What a machine has to itself lies in its folder, since the machines of a lab share /run; the
# voter's socket alone is where everybody looks for it.
set -e
deed=$1
shift
set -- --node "$MACHINE" --state "$DIR/state" --pins "/run/lab/bpf/$MACHINE" "$@"
if [ "$deed" = init ]; then
	fairlead init "$@"
else
	until said=$(fairlead token -o json 2>/dev/null); do # the lab starts all at once
		sleep 0.2
	done
	token=$(printf '%s' "$said" | sed -n 's/.*"token": *"\([^"]*\)".*/\1/p')
	fairlead join 10.0.1.2 --token "$token" --run-dir "$DIR/run" "$@"
fi
exec fairlead run --state "$DIR/state"
