#!/bin/sh
# shakespeare: how well a character model learns tiny Shakespeare, per cell and seed.
#
#   bench/shakespeare.sh CAROUSEL INPUT.txt [EPOCHS [SEEDS [CELL...]]]
#
# In:  the program, the text, times through it (default 5), seeds (default 3: 1 2 3), cells (default lstm gru rnn).
# Out: a line a run on stdout: cell, seed, loss in nats a character on the last 100,000 characters of the training part,
#      on the test, on the test while learning goes on (lm eval --learn), seconds of training.
# The first 90 % of the text train, the last 10 % are judged at the end of each run. Nothing is chosen here: the settings
# were chosen on the last 3.8 % of the training part, a play of which the rest was not trained on (docs/results.md).
set -eu
carousel=$1
input=$2
epochs=${3:-5}
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
tail -c 100000 "$folder/train.txt" >"$folder/seen.txt"

# The number after "KEY": in a line of JSON.
number() {
    sed -n "s/.*\"$1\": \([-+.0-9e]*\).*/\1/p"
}

# The loss of the model on FILE [OPTION...].
judge() {
    "$carousel" lm eval "$folder/m.safetensors" "$@" --json | number nats_per_token
}

printf 'cell\tseed\tseen\ttest\tlearning\tseconds\n'
for cell; do
    seed=1
    while [ "$seed" -le "$seeds" ]; do
        "$carousel" lm train "$folder/train.txt" --valid-fraction 0 --precision bf16 \
            --net "embed 64 | $cell 512 | softmax dropout 0.4" --batch 16 --unroll 64 --rate 0.007 \
            --epochs "$epochs" --seed "$seed" -o "$folder/m.safetensors" --json >"$folder/run.json"
        printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$cell" "$seed" "$(judge "$folder/seen.txt")" \
            "$(judge "$folder/test.txt")" "$(judge "$folder/test.txt" --learn 0.001)" \
            "$(number seconds <"$folder/run.json")"
        seed=$((seed + 1))
    done
done
