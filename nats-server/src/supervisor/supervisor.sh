# Runs a server for as long as its owner lives.
#
#   sh -c "$(cat supervisor.sh)" supervisor <run folder> <patience> <program> <args...>
#
# Standard input is a pipe from the owner. It ends when the owner does, by
# whatever cause; a line on it means that the owner is done with this server
# and sees to the run folder by itself. Standard output gets one line, the
# server's pid. <run folder>/exit gets the server's exit status.
#
# <patience> is how many seconds the server has to end in good order when the
# owner is gone; 0 kills it at once.

run=$1 patience=$2
shift 2

# The shell gives its background commands an empty standard input.
exec 3<&0

"$@" 3<&- </dev/null >>"$run/nats-server.log" 2>&1 &
server=$!

# From here on the server is looked after, even if a signal goes to all.
trap '' HUP INT TERM PIPE

(
    read -r line <&3
    if [ "$patience" -gt 0 ]; then
        kill -TERM "$server"
        # It may be paused.
        kill -CONT "$server"
        while [ "$patience" -gt 0 ] && kill -0 "$server"; do
            sleep 1
            patience=$((patience - 1))
        done
    fi
    kill -KILL "$server"
) &
watch=$!

echo "$server"

wait "$server"
status=$?
# Its pid is free for another process now, which must not be killed.
kill -KILL "$watch"
echo "$status" >"$run/exit"

# If the owner has no more to say it is gone.
read -r line <&3 || rm -rf "$run"
