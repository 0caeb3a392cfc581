/* library.c: what belongs to the library as a whole and to no room. */
#include "carousel.h"

const char *car_version(void) {
    return CAR_VERSION;
}
