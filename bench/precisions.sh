#!/bin/sh
# precisions: what bf16 and int8 weights cost in quality, on words of Penn Treebank and on tiny Shakespeare's characters.
#
#   bench/precisions.sh CAROUSEL PTB_FOLDER SHAKESPEARE.txt [SEED [CELL...]]
#
# In:  the program, the folder with ptb.train.txt, ptb.valid.txt and ptb.test.txt, the text (first 90 % train, the last 10 %
# are the test). Out: a line for each text, cell and precision: bytes of the file, nats a token of the test.
# The models are trained briefly, in bf16; their files hold f32 weights, which are then rounded.
set -eu
carousel=$1
data=$2
input=$3
seed=${4:-1}
shift 3
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- lstm gru
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
bytes=$(wc -c <"$input")
head -c $((bytes * 9 / 10)) "$input" >"$folder/train.txt"
tail -c +$((bytes * 9 / 10 + 1)) "$input" >"$folder/test.txt"

# judge TEXT CELL TEST: the model just trained, in three precisions.
judge() {
    "$carousel" quantize "$folder/m.safetensors" -o "$folder/int8.safetensors" >/dev/null
    for precision in f32 bf16 int8; do
        model=m
        [ "$precision" = int8 ] && model=int8
        nats=$("$carousel" lm eval "$folder/$model.safetensors" "$3" --precision "$precision" --threads 1 --json |
            sed -n 's/.*"nats_per_token": \([-+.0-9e]*\).*/\1/p')
        printf '%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$precision" "$(wc -c <"$folder/$model.safetensors")" "$nats"
    done
}

printf 'text\tcell\tprecision\tbytes\ttest\n'
for cell; do
    "$carousel" lm train "$folder/train.txt" --level char --valid-fraction 0.05 --precision bf16 --threads 1 \
        --net "embed 64 | $cell 512 dropout 0.4 | softmax" --batch 64 --unroll 100 --rate 0.003 \
        --updates 300 --seed "$seed" -o "$folder/m.safetensors" >/dev/null
    judge shakespeare "$cell" "$folder/test.txt"
    "$carousel" lm train "$data/ptb.train.txt" --valid "$data/ptb.valid.txt" --level word --precision bf16 --threads 1 \
        --net "embed 200 | $cell 200 x2 dropout 0.2 | softmax" --batch 20 --unroll 35 --rate 0.003 \
        --updates 3000 --seed "$seed" -o "$folder/m.safetensors" >/dev/null
    judge ptb "$cell" "$data/ptb.test.txt"
done
