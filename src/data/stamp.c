/*
 * stamp.c: time stamps and their frequency.
 *
 * In:  "1949", "1949-01", "1949-01-31", "1949-01-31 13:00:00Z". Out: a whole number in the kind's unit, and for many of
 *      them the one distance at which they stand. Days are counted in the proleptic Gregorian calendar
 *      (Howard Hinnant's days_from_civil and its inverse).
 */
#include "series.h"
#include <stdlib.h>
#include <string.h>

enum { DAY_SECONDS = 86400 };

/* ---- the calendar ------------------------------------------------------------------------------------- */

static int64_t divide_down(int64_t a, int64_t b) {
    return a / b - (a % b < 0);
}

static int64_t days_of(int64_t year, int month, int day) {
    year -= month <= 2;
    int64_t era = divide_down(year, 400), of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void date_of(int64_t days, int64_t *year, int *month, int *day) {
    days += 719468;
    int64_t era = divide_down(days, 146097), of_era = days - era * 146097;
    int64_t years = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * years + years / 4 - years / 100);
    int64_t shifted = (5 * of_year + 2) / 153;
    *day = (int)(of_year - (153 * shifted + 2) / 5 + 1);
    *month = (int)(shifted < 10 ? shifted + 3 : shifted - 9);
    *year = years + era * 400 + (*month <= 2);
}

static int days_in_month(int64_t year, int month) {
    return (int)(days_of(month == 12 ? year + 1 : year, month == 12 ? 1 : month + 1, 1) -
                 days_of(year, month, 1));
}

/* ---- text --------------------------------------------------------------------------------------------- */

/* `digits` digits at *at; false: there are none. */
static bool take_number(const char **at, const char *end, int digits, int *value) {
    *value = 0;
    if (end - *at < digits)
        return false;
    for (int i = 0; i < digits; i++) {
        char c = *(*at)++;
        if (c < '0' || c > '9')
            return false;
        *value = *value * 10 + (c - '0');
    }
    return true;
}

static bool take(const char **at, const char *end, char c) {
    if (*at >= end || **at != c)
        return false;
    (*at)++;
    return true;
}

static bool parse_integer(const char *text, size_t length, int64_t *value) {
    size_t at = length > 0 && text[0] == '-';
    if (length == at || length - at > 15)
        return false;
    *value = 0;
    for (size_t i = at; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *value = *value * 10 + (text[i] - '0');
    }
    *value = at ? -*value : *value;
    return true;
}

/* "Z" or "+01:00" or nothing, up to the end; seconds to take away. */
static bool take_zone(const char **at, const char *end, int *seconds) {
    *seconds = 0;
    if (*at == end)
        return true;
    if (take(at, end, 'Z'))
        return *at == end;
    int sign = **at == '-' ? -1 : 1, hour, minute = 0;
    if (!take(at, end, '+') && !take(at, end, '-'))
        return false;
    if (!take_number(at, end, 2, &hour) || hour > 15)
        return false;
    take(at, end, ':');
    if (*at < end && (!take_number(at, end, 2, &minute) || minute > 59))
        return false;
    *seconds = sign * (hour * 3600 + minute * 60);
    return *at == end;
}

static bool parse_clock(const char *at, const char *end, int64_t *seconds) {
    int hour, minute, second = 0, zone, zeros;
    if (!take_number(&at, end, 2, &hour) || !take(&at, end, ':') ||
        !take_number(&at, end, 2, &minute) || hour > 23 || minute > 59)
        return false;
    if (take(&at, end, ':') && (!take_number(&at, end, 2, &second) || second > 59))
        return false;
    if (take(&at, end, '.')) { /* whole seconds only */
        while (at < end && take_number(&at, end, 1, &zeros)) {
            if (zeros != 0)
                return false;
            if (at == end || *at < '0' || *at > '9')
                break;
        }
    }
    if (!take_zone(&at, end, &zone))
        return false;
    *seconds = hour * 3600 + minute * 60 + second - zone;
    return true;
}

/* 20200131: a number of eight digits that is a day of 1800 to 2199. */
static bool parse_compact_date(const char *text, size_t length, int64_t *value) {
    const char *at = text, *end = text + length;
    int year, month, day;
    if (length != 8 || !take_number(&at, end, 4, &year) || !take_number(&at, end, 2, &month) ||
        !take_number(&at, end, 2, &day) || year < 1800 || year > 2199 || month < 1 || month > 12 ||
        day < 1 || day > days_in_month(year, month))
        return false;
    *value = days_of(year, month, day);
    return true;
}

bool car_stamp_parse(const char *text, size_t length, car_stamp_kind *kind, int64_t *value) {
    if (parse_compact_date(text, length, value)) {
        *kind = CAR_STAMP_DATE;
        return true;
    }
    if (parse_integer(text, length, value)) {
        *kind = CAR_STAMP_INTEGER;
        return true;
    }
    const char *at = text, *end = text + length;
    int year, month, day;
    int64_t clock;
    if (!take_number(&at, end, 4, &year))
        return false;
    char mark = at < end && *at == '/' ? '/' : '-';
    if (!take(&at, end, mark) || !take_number(&at, end, 2, &month) || month < 1 || month > 12)
        return false;
    *kind = CAR_STAMP_MONTH;
    *value = (int64_t)year * 12 + month - 1;
    if (at == end)
        return true;
    if (!take(&at, end, mark) || !take_number(&at, end, 2, &day) || day < 1 ||
        day > days_in_month(year, month))
        return false;
    *kind = CAR_STAMP_DATE;
    *value = days_of(year, month, day);
    if (at == end)
        return true;
    if (!take(&at, end, 'T') && !take(&at, end, ' '))
        return false;
    *kind = CAR_STAMP_TIME;
    if (!parse_clock(at, end, &clock))
        return false;
    *value = *value * DAY_SECONDS + clock;
    return true;
}

void car_stamp_format(car_stamp_kind kind, int64_t value, char text[CAR_STAMP_TEXT]) {
    int64_t year = 0;
    int month = 0, day = 0;
    if (kind == CAR_STAMP_INTEGER) {
        snprintf(text, CAR_STAMP_TEXT, "%lld", (long long)value);
        return;
    }
    if (kind == CAR_STAMP_MONTH) {
        snprintf(text, CAR_STAMP_TEXT, "%04lld-%02d", (long long)divide_down(value, 12),
                 (int)(value - divide_down(value, 12) * 12) + 1);
        return;
    }
    int64_t days = kind == CAR_STAMP_TIME ? divide_down(value, DAY_SECONDS) : value;
    date_of(days, &year, &month, &day);
    int seconds = kind == CAR_STAMP_TIME ? (int)(value - days * DAY_SECONDS) : 0;
    if (kind == CAR_STAMP_DATE)
        snprintf(text, CAR_STAMP_TEXT, "%04lld-%02d-%02d", (long long)year, month, day);
    else
        snprintf(text, CAR_STAMP_TEXT, "%04lld-%02d-%02d %02d:%02d:%02d", (long long)year, month,
                 day, seconds / 3600, seconds / 60 % 60, seconds % 60);
}

/* ---- frequency ---------------------------------------------------------------------------------------- */

/* 0: Monday. */
static int weekday_of(int64_t days) {
    return (int)(days + 3 - divide_down(days + 3, 7) * 7);
}

/* Business days since Monday, 1969-12-29. */
static int64_t business_index(int64_t days) {
    return divide_down(days + 3, 7) * 5 + weekday_of(days);
}

static int64_t month_index(int64_t days, bool *last) {
    int64_t year;
    int month, day;
    date_of(days, &year, &month, &day);
    *last = day == days_in_month(year, month);
    return year * 12 + month - 1;
}

static int day_of(int64_t days) {
    int64_t year;
    int month, day;
    date_of(days, &year, &month, &day);
    return day;
}

/* Are all dates on one day of the month, or all on its last, and never two in a month? */
static bool is_by_months(const int64_t *stamps, size_t count, int *day) {
    bool same = true, all_last = true, last;
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && stamps[i] - stamps[i - 1] > 0 && stamps[i] - stamps[i - 1] < 28)
            return false;
        month_index(stamps[i], &last);
        same = same && day_of(stamps[i]) == day_of(stamps[0]);
        all_last = all_last && last;
    }
    *day = all_last ? 31 : day_of(stamps[0]);
    return same || all_last;
}

static bool is_by_business_days(const int64_t *stamps, size_t count) {
    size_t next_day = 0;
    for (size_t i = 0; i < count; i++) {
        if (weekday_of(stamps[i]) > 4)
            return false;
        next_day += i > 0 && stamps[i] - stamps[i - 1] == 1;
    }
    return count > 7 && next_day * 2 > count;
}

/* A number whose differences are whole steps. */
static int64_t place_of(const car_frequency *frequency, int64_t stamp) {
    bool last;
    switch (frequency->unit) {
    case CAR_STEP_MONTHS:
        return month_index(stamp, &last);
    case CAR_STEP_BUSINESS_DAY:
        return business_index(stamp);
    case CAR_STEP_PLAIN:
        break;
    }
    return stamp;
}

static int by_size(const void *a, const void *b) {
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

/* The most common of the positive ones; 0: none. Sorts them. */
static int64_t most_common(int64_t *numbers, size_t count) {
    int64_t best = 0;
    size_t best_run = 0, run = 0;
    qsort(numbers, count, sizeof *numbers, by_size);
    for (size_t i = 0; i < count; i++) {
        run = i > 0 && numbers[i] == numbers[i - 1] ? run + 1 : 1;
        if (numbers[i] > 0 && run > best_run) {
            best_run = run;
            best = numbers[i];
        }
    }
    return best;
}

int64_t car_frequency_find(car_stamp_kind kind, const int64_t *stamps, size_t count,
                           const car_allocator *allocator, car_frequency *frequency) {
    *frequency = (car_frequency){.kind = kind, .step = 1};
    if (count < 2)
        return -1;
    if (kind == CAR_STAMP_DATE && is_by_months(stamps, count, &frequency->day))
        frequency->unit = CAR_STEP_MONTHS;
    else if (kind == CAR_STAMP_DATE && is_by_business_days(stamps, count))
        frequency->unit = CAR_STEP_BUSINESS_DAY;
    int64_t *distances = car_allocate(allocator, count, sizeof *distances);
    if (!distances)
        return 0;
    for (size_t i = 1; i < count; i++)
        distances[i] = place_of(frequency, stamps[i]) - place_of(frequency, stamps[i - 1]);
    int64_t step = most_common(distances + 1, count - 1);
    car_release(allocator, distances);
    frequency->step = step > 0 ? step : 1;
    for (size_t i = 1; i < count; i++)
        if (car_frequency_steps(frequency, stamps[i - 1], stamps[i]) < 0)
            return (int64_t)i;
    return -1;
}

int64_t car_frequency_steps(const car_frequency *frequency, int64_t from, int64_t to) {
    int64_t distance = place_of(frequency, to) - place_of(frequency, from);
    return distance < 1 || distance % frequency->step ? -1 : distance / frequency->step;
}

int64_t car_frequency_add(const car_frequency *frequency, int64_t stamp, int64_t steps) {
    bool last;
    int64_t distance = steps * frequency->step;
    if (frequency->unit == CAR_STEP_MONTHS) {
        int64_t month = month_index(stamp, &last) + distance, year = divide_down(month, 12);
        int of_year = (int)(month - year * 12) + 1, most = days_in_month(year, of_year);
        return days_of(year, of_year, frequency->day < most ? frequency->day : most);
    }
    if (frequency->unit == CAR_STEP_BUSINESS_DAY) {
        int64_t index = business_index(stamp) + distance, week = divide_down(index, 5);
        return week * 7 - 3 + (index - week * 5);
    }
    return stamp + distance;
}

void car_frequency_name(const car_frequency *frequency, char text[32]) {
    bool months = frequency->unit == CAR_STEP_MONTHS || frequency->kind == CAR_STAMP_MONTH;
    const struct {
        bool applies;
        int64_t step;
        const char *name;
    } names[] = {{frequency->unit == CAR_STEP_BUSINESS_DAY, 1, "business-daily"},
                 {months, 1, "monthly"},
                 {months, 3, "quarterly"},
                 {months, 12, "yearly"},
                 {frequency->kind == CAR_STAMP_DATE && !months, 1, "daily"},
                 {frequency->kind == CAR_STAMP_DATE && !months, 7, "weekly"},
                 {frequency->kind == CAR_STAMP_TIME, 60, "every minute"},
                 {frequency->kind == CAR_STAMP_TIME, 3600, "hourly"},
                 {frequency->kind == CAR_STAMP_TIME, DAY_SECONDS, "daily"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (names[i].applies && names[i].step == frequency->step) {
            snprintf(text, 32, "%s", names[i].name);
            return;
        }
    }
    const char *unit = months                              ? "months"
                       : frequency->kind == CAR_STAMP_DATE ? "days"
                       : frequency->kind == CAR_STAMP_TIME ? "seconds"
                                                           : "steps";
    snprintf(text, 32, "every %lld %s", (long long)frequency->step, unit);
}

int car_frequency_season(const car_frequency *frequency) {
    char name[32];
    static const struct {
        const char *name;
        int season;
    } seasons[] = {{"monthly", 12},       {"quarterly", 4}, {"hourly", 24},
                   {"business-daily", 5}, {"daily", 7},     {"every minute", 60}};
    car_frequency_name(frequency, name);
    for (size_t i = 0; i < sizeof seasons / sizeof *seasons; i++)
        if (strcmp(name, seasons[i].name) == 0)
            return seasons[i].season;
    return 1;
}
