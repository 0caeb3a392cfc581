/*
 * operations: the names and operand counts of the operations of vector programs.
 *
 * In:  an operation. Out: its row of CAR_VECTOR_OP_MAP.
 */
#include "kernels.h"

const char *car_vector_op_text(car_vector_op op) {
    switch (op) {
#define X(name, text, operands)                                                                    \
    case CAR_VECTOR_##name:                                                                        \
        return text;
        CAR_VECTOR_OP_MAP(X)
#undef X
    case CAR_VECTOR_OP_COUNT:
        break;
    }
    return "?";
}

int car_vector_op_operands(car_vector_op op) {
    switch (op) {
#define X(name, text, operands)                                                                    \
    case CAR_VECTOR_##name:                                                                        \
        return operands;
        CAR_VECTOR_OP_MAP(X)
#undef X
    case CAR_VECTOR_OP_COUNT:
        break;
    }
    return 0;
}
