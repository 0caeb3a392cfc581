/*
 * story_json.c: the story's figures and verdicts as JSON and as lines of text.
 */
#include "story.h"
#include <string.h>

static const char *const verdict_names[] = {"holds", "in part", "does not hold", "undecided"};
static const char *const outcome_names[] = {"yes", "no", "undecided"};

static void add_string(car_text *text, const char *plain) {
    car_text_json_string(text, plain, strlen(plain));
}

static void add_figure(const car_story *story, car_rule_id id, car_text *text) {
    const car_story_rule *rule = car_story_rule_at(id);
    const car_story_figure *figure = &story->figures[id];
    car_text_format(text, "{\"what\": ");
    add_string(text, rule->what.english);
    car_text_format(text, ", \"mean\": ");
    car_text_json_number(text, figure->mean);
    car_text_format(text, ", \"low\": ");
    car_text_json_number(text, figure->low);
    car_text_format(text, ", \"high\": ");
    car_text_json_number(text, figure->high);
    car_text_format(
        text,
        ", \"seeds\": %d, \"rule\": \"%s\", \"threshold\": %g, \"met\": \"%s\", \"samples\": [",
        figure->seeds, rule->above ? "above" : "below", rule->threshold,
        outcome_names[figure->outcome]);
    for (int i = 0; i < story->request.cheap; i++) {
        car_text_format(text, i ? ", " : "");
        car_text_json_number(text, story->samples[id][i]);
    }
    car_text_format(text, "]}");
}

void car_story_to_json(const car_story *story, car_text *text) {
    car_text_format(
        text,
        "{\"seed\": %lld, \"seeds\": %lld, \"cheap_seeds\": %lld, \"updates\": %lld, \"claims\": [",
        (long long)story->request.seed, (long long)story->request.seeds,
        (long long)story->request.cheap, (long long)story->request.updates);
    for (int claim = 0; claim < CAR_STORY_CLAIMS; claim++) {
        int count = 0;
        car_text_format(text, "%s\n{\"claim\": %d, \"title\": ", claim ? "," : "", claim + 1);
        add_string(text, car_story_claim(claim)->title.english);
        car_text_format(text, ", \"verdict\": \"%s\", \"figures\": [",
                        verdict_names[story->verdicts[claim]]);
        for (int r = 0; r < CAR_RULE_COUNT; r++)
            if (car_story_rule_at((car_rule_id)r)->claim == claim) {
                car_text_format(text, count++ ? ",\n " : "\n ");
                add_figure(story, (car_rule_id)r, text);
            }
        car_text_format(text, "]}");
    }
    car_text_format(text, "]}\n");
}

void car_story_to_text(const car_story *story, bool chinese, car_text *text) {
    for (int claim = 0; claim < CAR_STORY_CLAIMS; claim++) {
        car_text_format(text, "%s%d. %s\n   %s\n", claim ? "\n" : "", claim + 1,
                        car_say(car_story_claim(claim)->title, chinese),
                        car_say(car_verdict_word(story->verdicts[claim]), chinese));
        for (int r = 0; r < CAR_RULE_COUNT; r++) {
            const car_story_rule *rule = car_story_rule_at((car_rule_id)r);
            const car_story_figure *figure = &story->figures[r];
            if (rule->claim != claim)
                continue;
            car_text_format(text, "     %s\n       ", car_say(rule->what, chinese));
            car_text_decimal(text, figure->mean, rule->decimals);
            car_text_format(text, " (");
            car_text_decimal(text, figure->low, rule->decimals);
            car_text_format(text, " … ");
            car_text_decimal(text, figure->high, rule->decimals);
            car_text_format(text, "), %s %g: %s\n", rule->above ? ">" : "<", rule->threshold,
                            car_say(car_outcome_word(figure->outcome), chinese));
        }
    }
}
