#!/bin/sh
# shakespeare: how well a character model learns tiny Shakespeare in a given time, per cell and seed.
#
#   bench/shakespeare.sh CAROUSEL INPUT.txt [MINUTES [SEEDS [CELL...]]]
#
# In:  the program, the text, minutes for each run (default 10), seeds (default 3: 1 2 3), cells (default lstm gru rnn).
# Out: a line a run on stdout: cell, seed, best validation and test loss in nats a character, seconds of training.
# The first 90 % of the text train, the last 5 % of them choose the best update; the last 10 % are judged once a run.
set -eu
carousel=$1
input=$2
minutes=${3:-10}
seeds=${4:-3}
shift 2
[ $# -gt 0 ] && shift
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- lstm gru rnn
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
bytes=$(wc -c <"$input")
head -c $((bytes * 9 / 10)) "$input" >"$folder/train.txt"
tail -c +$((bytes * 9 / 10 + 1)) "$input" >"$folder/test.txt"

# The number after "KEY": in a line of JSON.
number() {
    sed -n "s/.*\"$1\": \([-+.0-9e]*\).*/\1/p"
}

printf 'cell\tseed\tvalidation\ttest\tseconds\tepochs\n'
for cell; do
    seed=1
    while [ "$seed" -le "$seeds" ]; do
        "$carousel" lm train "$folder/train.txt" --level char --valid-fraction 0.05 \
            --net "embed 64 | $cell 512 dropout 0.4 | softmax" --batch 64 --unroll 100 --rate 0.003 \
            --minutes "$minutes" --seed "$seed" -o "$folder/m.safetensors" --json >"$folder/run.json"
        "$carousel" lm eval "$folder/m.safetensors" "$folder/test.txt" --json >"$folder/test.json"
        printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$cell" "$seed" \
            "$(number nats_per_token <"$folder/run.json")" "$(number nats_per_token <"$folder/test.json")" \
            "$(number seconds <"$folder/run.json")" "$(number epochs <"$folder/run.json")"
        seed=$((seed + 1))
    done
done
