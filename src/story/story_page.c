/*
 * story_page.c: the story as one HTML file, in English or Chinese.
 *
 * In: a story that has been run. Out: a table of verdicts, then for every claim what is said, what was done, charts, the
 * figures with their rules and the verdict.
 */
#include "story.h"
#include <math.h>

typedef struct page_words {
    car_words title, subtitle, rules, numbers, heads[5], list_heads[2], summary, because, repeat,
        done, said;
} page_words;

static const page_words words = {
    .title = {"The LSTM's story, measured again", "LSTM 的故事，重新测量"},
    .subtitle = {"Ten things that are said about recurrent nets, each re-measured on this machine "
                 "in small. The verdicts are "
                 "computed.",
                 "关于循环网络的十个说法，在这台机器上小规模地逐一重测。结论是算出来的。"},
    .rules =
        {"A figure is the mean over %lld seeds, in claims 5, 8, 9 and 10, whose nets cost "
         "little, over %lld, with its 95 %% interval (Student's t). A rule "
         "is met when the whole "
         "interval lies on its side of the threshold, not met when it lies on the other, else "
         "undecided. A claim holds "
         "when all its rules are met, does not when none can be, holds in part when some are "
         "met and some are not. "
         "Rules, thresholds and the least number of seeds (%d) were fixed in the program "
         "before anything was measured. "
         "With %d rules at 95 %%, one of them may well be wrong by chance.",
         "每个数字是 %lld 个种子（说法 5、8、9、10 的网络代价小，用 %lld 个）的平均值及其 95 %% "
         "区间（学生 "
         "t）。整个区间落在阈值的这一侧，规则就满足；落在另一侧，就不满足；"
         "否则未定。所有规则都满足，说法成立；都不满足，则不成立；有的满足、有的不满足，则部分"
         "成立。规则、阈值和最少种子数（%d）"
         "在测量之前就写在程序里。%d 条规则都用 95 %%，其中有一条碰巧出错是很可能的。"},
    .numbers = {"Every net was trained for at most %lld updates of 32 sentences.",
                "每个网络最多训练 %lld 次更新，每次 32 个句子。"},
    .heads = {{"figure", "数字"},
              {"mean", "平均"},
              {"95 % interval", "95 % 区间"},
              {"rule", "规则"},
              {"met?", "满足？"}},
    .list_heads = {{"claim", "说法"}, {"verdict", "结论"}},
    .summary = {"The verdicts", "结论一览"},
    .because = {"%1$d of %2$d rules met, %3$d not met, %4$d undecided.",
                "满足 %1$d 条（共 %2$d 条规则），不满足 %3$d 条，未定 %4$d 条。"},
    .repeat = {"To repeat it", "如何重做"},
    .done = {"Measured: ", "测量："},
    .said = {"Said: ", "说法："},
};

static int count_outcomes(const car_story *story, int claim, car_outcome outcome) {
    int count = 0;
    for (int r = 0; r < CAR_RULE_COUNT; r++)
        count += car_story_rule_at((car_rule_id)r)->claim == claim &&
                 story->figures[r].outcome == outcome;
    return count;
}

static void write_summary(const car_story *story, bool chinese, car_page *page) {
    const char *heads[2], *cells[CAR_STORY_CLAIMS * 2];
    for (int i = 0; i < 2; i++)
        heads[i] = car_say(words.list_heads[i], chinese);
    for (int claim = 0; claim < CAR_STORY_CLAIMS; claim++) {
        cells[claim * 2] = car_page_text(page, "%d. %s", claim + 1,
                                         car_say(car_story_claim(claim)->title, chinese));
        cells[claim * 2 + 1] = car_say(car_verdict_word(story->verdicts[claim]), chinese);
    }
    car_page_section(page, car_say(words.summary, chinese));
    car_page_table(page, heads, 2, cells, CAR_STORY_CLAIMS, NULL);
    car_page_paragraph(page, car_page_text(page, car_say(words.numbers, chinese),
                                           (long long)story->request.updates));
    car_page_paragraph(page, car_page_text(page, car_say(words.rules, chinese),
                                           (long long)story->request.seeds,
                                           (long long)story->request.cheap, CAR_STORY_LEAST_SEEDS,
                                           CAR_RULE_COUNT));
}

static void write_figures(const car_story *story, int claim, bool chinese, car_page *page) {
    static const bool numeric[] = {false, true, true, true, false};
    const char *heads[5], *cells[CAR_RULE_COUNT * 5];
    int rows = 0;
    for (int i = 0; i < 5; i++)
        heads[i] = car_say(words.heads[i], chinese);
    for (int r = 0; r < CAR_RULE_COUNT; r++) {
        const car_story_rule *rule = car_story_rule_at((car_rule_id)r);
        const car_story_figure *figure = &story->figures[r];
        if (rule->claim != claim)
            continue;
        const char **row = cells + (size_t)rows++ * 5;
        row[0] = car_say(rule->what, chinese);
        row[1] = isfinite(figure->mean) ? car_page_text(page, "%.*f", rule->decimals, figure->mean)
                                        : "–";
        row[2] = isfinite(figure->low) ? car_page_text(page, "%.*f … %.*f", rule->decimals,
                                                       figure->low, rule->decimals, figure->high)
                                       : "–";
        row[3] = car_page_text(page, "%s %g", rule->above ? ">" : "<", rule->threshold);
        row[4] = car_say(car_outcome_word(figure->outcome), chinese);
    }
    car_page_table(page, heads, 5, cells, rows, numeric);
}

static void write_claim(const car_story *story, int claim, bool chinese, car_page *page) {
    const car_claim_words *text = car_story_claim(claim);
    int met = count_outcomes(story, claim, CAR_OUTCOME_YES),
        failed = count_outcomes(story, claim, CAR_OUTCOME_NO);
    int open = count_outcomes(story, claim, CAR_OUTCOME_OPEN);
    car_page_section(page, car_page_text(page, "%d. %s", claim + 1, car_say(text->title, chinese)));
    car_page_paragraph(page, car_page_text(page, "%s%s", car_say(words.said, chinese),
                                           car_say(text->said, chinese)));
    car_page_paragraph(page, car_page_text(page, "%s%s", car_say(words.done, chinese),
                                           car_say(text->done, chinese)));
    for (const car_story_chart *chart = story->first; chart; chart = chart->next) {
        car_scene scene;
        if (chart->claim != claim)
            continue;
        car_story_scene(chart, chinese, story->allocator, &scene);
        car_page_scene(page, &scene, NULL);
        car_scene_free(&scene);
    }
    write_figures(story, claim, chinese, page);
    car_page_verdict(page, story->verdicts[claim],
                     car_say(car_verdict_word(story->verdicts[claim]), chinese),
                     car_page_text(page, car_say(words.because, chinese), met, met + failed + open,
                                   failed, open));
}

car_status car_story_page(const car_story *story, bool chinese, const char *command, car_text *html,
                          car_error *error) {
    car_page page;
    car_page_start(&page, chinese ? "zh" : "en", car_say(words.title, chinese),
                   car_say(words.subtitle, chinese), story->allocator);
    write_summary(story, chinese, &page);
    for (int claim = 0; claim < CAR_STORY_CLAIMS; claim++)
        write_claim(story, claim, chinese, &page);
    car_page_section(&page, car_say(words.repeat, chinese));
    car_page_code(&page, command);
    return car_page_finish(&page, html, error);
}
