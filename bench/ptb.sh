#!/bin/sh
# ptb: Zaremba, Sutskever & Vinyals (2014) on Penn Treebank words: the small configuration, or the medium one with its dropout.
#
#   bench/ptb.sh CAROUSEL FOLDER [SEED] [small|medium]
#
# In:  the program, the folder with ptb.train.txt, ptb.valid.txt and ptb.test.txt. Out: the epochs on stderr, what came of
# them, and the test's figures as JSON; ptb-small-SEED.safetensors, or medium, where the program was called. Interrupted, it goes on when
# called again: the medium one takes one to three hours. Their loss is summed over the steps of an update and ours is the mean:
# their rate 1 and clip 5 are, with 20 steps, our rate 20 and clip 0.25. The medium one is as in their published code: a gate
# has two biases, and the rate falls first after epoch 7.
set -eu
carousel=$1
data=$2
seed=${3:-1}
size=${4:-small}
case $size in
small) set -- --net 'embed 200 | lstm 200 x2 | softmax' --init 'uniform(0.1)' --unroll 20 --rate 20 --clip 0.25 \
    --factor 0.5 --after 4 --epochs 13 ;;
medium)
    cat >ptb-medium.cell <<'END'
cell lstm_two_biases(x) -> h
state h, c
i = sigmoid(Wi@x + bxi + Ui@h + bi)
f = sigmoid(Wf@x + bxf + Uf@h + bf)
g = tanh(Wg@x + bxg + Ug@h + bg)
o = sigmoid(Wo@x + bxo + Uo@h + bo)
c' = f*c + i*g
h' = o*tanh(c')
END
    set -- --net 'embed 650 | cell:ptb-medium.cell 650 x2 dropout 0.5 | softmax' --init 'uniform(0.05)' --unroll 35 --rate 35 \
        --clip 0.142857 --factor 0.83333333 --after 7 --epochs 39 --precision bf16
    ;;
*) echo "ptb: small or medium, not $size" >&2 && exit 2 ;;
esac
model=ptb-$size-$seed.safetensors
if [ -e "$model.last" ]; then
    "$carousel" lm train --resume "$model.last"
else
    "$carousel" lm train "$data/ptb.train.txt" --valid "$data/ptb.valid.txt" --level word "$@" --bias-init bf=0 --batch 20 \
        --optimizer sgd --schedule step --seed "$seed" -o "$model"
fi
"$carousel" lm eval "$model" "$data/ptb.test.txt" --json
