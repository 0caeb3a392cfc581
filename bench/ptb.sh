#!/bin/sh
# ptb: Zaremba, Sutskever & Vinyals (2014), the small configuration, on Penn Treebank words.
#
#   bench/ptb.sh CAROUSEL FOLDER [SEED]
#
# In:  the program, the folder with ptb.train.txt, ptb.valid.txt and ptb.test.txt. Out: the training's record and the
# test's figures as JSON. Their loss is summed over the 20 steps of an update and ours is the mean: their rate 1 and
# clip 5 are our rate 20 and clip 0.25.
set -eu
carousel=$1
data=$2
seed=${3:-1}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$carousel" lm train "$data/ptb.train.txt" --valid "$data/ptb.valid.txt" --level word \
    --net 'embed 200 | lstm 200 x2 | softmax' --bias-init bf=0 --init 'uniform(0.1)' --batch 20 --unroll 20 \
    --optimizer sgd --rate 20 --clip 0.25 --schedule step --factor 0.5 --after 4 --epochs 13 --seed "$seed" \
    -o "$folder/ptb.safetensors" --json
"$carousel" lm eval "$folder/ptb.safetensors" "$data/ptb.test.txt" --json
