# Looks after the workers of a pool that was killed.
#
#   sh -c "$(cat guard.sh)" guard <run folder> <patience>
#
# Standard input is a pipe from the pool, which the system closes however the
# pool ends: `+ <pid> <name>` is a worker that was started, `- <pid>` one that
# has ended, `done` the end of a pool that has seen to its workers by itself.
# What a worker says comes through the pipes <run folder>/<name>.out and .err.
#
# <patience> is how many seconds the workers have to end in good order.

run=$1 patience=$2
workers=''

# From here on the workers are looked after, even if a signal goes to all.
trap '' HUP INT TERM PIPE

while read -r what pid name; do
    case $what in
        +) workers="$workers $pid:$name" ;;
        -)
            left=''
            for worker in $workers; do
                [ "${worker%%:*}" = "$pid" ] || left="$left $worker"
            done
            workers=$left
            ;;
        done)
            rm -rf "$run"
            exit 0
            ;;
    esac
done

[ -z "$workers" ] || echo "the pool is gone; its workers are told to drain:$workers" >&2
for worker in $workers; do
    pid=${worker%%:*}
    # Somebody must read what they say, or they stand still.
    cat "$run/${worker#*:}.out" 2>/dev/null &
    cat "$run/${worker#*:}.err" >&2 2>/dev/null &
    kill -TERM "$pid" 2>/dev/null
    # It may be paused.
    kill -CONT "$pid" 2>/dev/null
done
all=$workers
while [ -n "$workers" ] && [ "$patience" -gt 0 ]; do
    sleep 1
    patience=$((patience - 1))
    left=''
    for worker in $workers; do
        if kill -0 "${worker%%:*}" 2>/dev/null; then left="$left $worker"; fi
    done
    workers=$left
done
for worker in $workers; do
    kill -KILL "${worker%%:*}" 2>/dev/null
done
# A worker that had ended before leaves one that waits for somebody to write.
for worker in $all; do
    true <>"$run/${worker#*:}.out"
    true <>"$run/${worker#*:}.err"
done 2>/dev/null
rm -rf "$run"
