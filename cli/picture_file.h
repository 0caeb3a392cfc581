/* picture_file.h: pictures to files, for the verbs that draw. */
#ifndef CAR_PICTURE_FILE_H
#define CAR_PICTURE_FILE_H

#include "cli.h"
#include "report.h"

/* Can a picture of this name be written by this build? CAR_USAGE says why not. */
car_status cli_check_picture(const char *path, car_error *error) CAR_CHECK_RESULT;
/* `dark`, `scale`: of PNG and PDF; an SVG follows its reader. */
car_status cli_write_scene(const char *path, const car_scene *scene, bool dark, double scale,
                           car_error *error) CAR_CHECK_RESULT;

#endif
