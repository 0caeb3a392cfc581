#!/bin/sh
# search.sh: the runs behind the search part of docs/results.md.
#
#   bench/search.sh CAROUSEL FOLDER ten            the paper's ten cells on four tasks (about 15 minutes of one core)
#   bench/search.sh CAROUSEL FOLDER search         a search of 400 trials, STUDY.db (about 40 minutes of one core)
#   bench/search.sh CAROUSEL FOLDER again          its best mutant on fresh seeds, and on a task that it was not selected on
#   bench/search.sh CAROUSEL FOLDER halving        what successive halving saves
#
# FOLDER has ptb.{train,valid,test}.txt (Penn Treebank, words) and jsb.{train,valid,test}.txt (chorales, docs/search.md's music).
set -eu
carousel=$(realpath "$1")
folder=$(realpath "$2")
ptb=words:$folder/ptb.train.txt,$folder/ptb.valid.txt,$folder/ptb.test.txt
jsb=music:$folder/jsb.train.txt,$folder/jsb.valid.txt,$folder/jsb.test.txt
study=${STUDY:-search.db}

# The paper's LSTMs start with a forget bias of 0, but for LSTM-b, which is the zoo's lstm.
without_bias() {
    "$carousel" cell show "$1" | grep -v '^init\|^torch' | sed "s/^cell $1(/cell $1-0(/" >"$1-0.cell"
}

case $3 in
ten)
    for cell in lstm lstm-nof lstm-noi lstm-noo; do without_bias $cell; done
    "$carousel" search compare rnn ./lstm-0.cell ./lstm-nof-0.cell ./lstm-noi-0.cell ./lstm-noo-0.cell lstm gru-v1 mut1 mut2 mut3 \
        --task arithmetic@3 --task xml --task "$ptb" --task "$jsb" --vocabulary 500 --weights 10000 --updates 2000 --settings 4 \
        --halving --seeds 3 --checks 10
    ;;
search)
    "$carousel" search start "$study" --task arithmetic@3 --task xml --task "$ptb" --vocabulary 500 --optimizer adam --halving \
        --settings 4 --first-settings 12 --updates 1200 --weights 10000 --checks 10 --memory-letters 3 --memory-updates 600 \
        --memory-least 0.5 --again 0.15 --trials 400
    "$carousel" search work "$study"
    ;;
again)
    best=$("$carousel" search top "$study" --json | python3 -c 'import json, sys
print(next(cell["name"] for cell in json.load(sys.stdin) if cell["name"] not in ("gru-v1", "lstm")))')
    "$carousel" search show "$study" "$best" >best.cell
    "$carousel" search compare gru-v1 ./best.cell --task arithmetic@3 --task xml --task "$ptb" --task "$jsb" \
        --vocabulary 500 --optimizer adam --halving --settings 12 --updates 1200 --weights 10000 --checks 10 --seed 1001 --seeds 3
    ;;
halving)
    for halving in "" --halving; do
        "$carousel" search compare gru-v1 --task arithmetic@3 --task xml --optimizer adam --settings 8 --updates 1200 \
            --weights 10000 --checks 10 --seeds 2 $halving
    done
    ;;
*)
    echo "search.sh: ten, search, again or halving" >&2
    exit 2
    ;;
esac
