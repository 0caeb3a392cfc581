/*
 * words.c: every sentence of the story's page, in English and Chinese. None of them says how a claim came out.
 */
#include "story.h"

static const car_claim_words claims[CAR_STORY_CLAIMS] = {
    {{"An RNN loses the subject before the verb; an LSTM does not",
      "RNN 读到动词时已经忘了主语，LSTM 没有"},
     {"“The cat, which …, was full” and “the cats, which …, were full”: the verb depends on a noun "
      "far back. The article "
      "says that a plain RNN cannot keep it.",
      "“The cat, which …, was full”与“The cats, which …, were "
      "full”：动词取决于很远之前的名词。文章说，普通的 RNN 记不住它。"},
     {"Nets of 32 units learn sentences with a noun of either number, 5, 10, 20 or 40 words that "
      "mislead, and was or were "
      "(carousel probe agreement). Each is tested on 2,560 new sentences. The lstm starts once "
      "with a bias of 1 on its forget gate and once with 3: a gate at sigmoid(1) = 0.73 keeps "
      "0.73^40, three millionths, at sigmoid(3) = 0.95 an eighth.",
      "32 个单元的网络学习这样的句子：单数或复数的名词、5、10、20 或 40 个干扰词、was 或 "
      "were（carousel probe "
      "agreement）。每个网络用 2,560 个新句子测试。lstm 的遗忘门偏置一次从 1 开始，一次从 3 "
      "开始：sigmoid(1) = 0.73 的门经过 40 步只留下百万分之三，sigmoid(3) = 0.95 "
      "的门留下八分之一。"}},
    {{"Gradients vanish or explode, by the scale of one matrix",
      "梯度消失还是爆炸，取决于一个矩阵的尺度"},
     {"The gradient through time is a product with the same matrix at every step, so it shrinks or "
      "grows like a power.",
      "沿时间的梯度在每一步都乘以同一个矩阵，所以像幂一样缩小或增长。"},
     {"The recurrent matrix of an untrained rnn is an orthogonal one times a scale. The gradient "
      "of one loss is followed "
      "back through 50 steps.",
      "未训练的 rnn 的循环矩阵取正交矩阵乘以一个尺度，把一个损失的梯度往回追 50 步。"}},
    {{"Clipping tames what explodes; enlarging does not cure what vanishes",
      "裁剪能驯服爆炸，放大却治不好消失"},
     {"The article sets each value above a threshold to the threshold. The paper (Pascanu et al. "
      "2013) shortens the whole "
      "gradient instead and keeps its direction.",
      "文章把超过阈值的数设为阈值。论文（Pascanu 等，2013）则缩短整个梯度，保持方向。"},
     {"60 updates of plain gradient descent on sentences of 20 words, from a recurrent matrix of "
      "scale 2, rate 0.3; "
      "threshold 1 for the norm, 1/√n for each of the n values, so that neither can step farther "
      "than the other. Enlarging: "
      "multiplying a gradient by a number leaves its direction, so it is enough to ask how far the "
      "direction of an untrained "
      "rnn's gradient depends on what stands more than 10 steps back.",
      "在相隔 20 词的句子上做 60 次普通梯度下降，循环矩阵尺度为 2，学习率 0.3；范数阈值 1，n "
      "个数值各自的阈值 1/√n，"
      "这样两者都不会比对方走得更远。至于放大：给梯度乘一个数并不改变方向，所以只需看未训练的 rnn "
      "的梯度方向有多少取决于 10 步以前的内容。"}},
    {{"The cell state is a conveyor belt", "细胞状态是一条传送带"},
     {"The state c is only multiplied by the forget gate and added to, so a gradient on it does "
      "not pass through a matrix.",
      "状态 c 只被遗忘门相乘、再加上新内容，所以它上面的梯度不必穿过矩阵。"},
     {"The gradient at c of an lstm (forget gate from a bias of 3), and at h of an rnn, followed "
      "back from the verb to the noun over sentences of 40 words, before and after training.",
      "在相隔 40 词的句子上，把 lstm（遗忘门偏置从 3 开始）的 c 和 rnn 的 h "
      "的梯度从动词追回名词，训练前后各一次。"}},
    {{"Trained gates are mostly near 0 or 1", "训练后的门大多接近 0 或 1"},
     {"The article says so of all gates. Karpathy et al. (2015) found that it depends on the "
      "layer.",
      "文章说所有的门都如此。Karpathy 等（2015）发现这要看在哪一层。"},
     {"All gates of the lstm at every step of 32 new sentences of 20 words, after its whole budget "
      "of updates (it goes on beyond the point where it has solved the task).",
      "在 32 个相隔 20 词的新句子上，统计 lstm "
      "每一步的所有门；它用完了全部更新数（解出任务之后仍继续训练）。"}},
    {{"A bias of 1 belongs on the forget gate", "偏置 1 应当加在遗忘门上"},
     {"The article gives it to the output gate. The paper that it tells of (Jozefowicz et al. "
      "2015) gives it to the forget "
      "gate.",
      "文章把它加在输出门上；它所转述的论文（Jozefowicz 等，2015）加在遗忘门上。"},
     {"The same lstm with either, and with none; how many updates until 99 % of the sentences of "
      "20 words are right. A run "
      "that never gets there counts with its whole budget.",
      "同一个 lstm，分别给其中一个门、或都不给；看多少次更新后相隔 20 词的句子有 99 % "
      "正确。没有做到的按整个预算计。"}},
    {{"A GRU does it with fewer gates", "GRU 用更少的门做到同样的事"},
     {"A GRU has two gates and no state of its own for memory, and is said to do as well.",
      "GRU 只有两个门，没有单独的记忆状态，据说效果一样好。"},
     {"On an equal footing: the gates that keep (forget, update) start at a bias of 3. As right as "
      "the lstm up to 0.02 over all distances, and solved with at most twice the updates at 20 "
      "words. The gru with biases of 0 is drawn beside them.",
      "同等条件：负责保留的门（遗忘门、更新门）偏置都从 3 开始。各距离上的正确率与 lstm 相差不超过 "
      "0.02，相隔 20 词时所需更新数不超过两倍。偏置为 0 的 gru 画在旁边。"}},
    {{"The forget gate matters most, then input, then output",
      "遗忘门最重要，其次输入门，再次输出门"},
     {"Jozefowicz et al. (2015) trained lstms without one gate on three tasks and found this "
      "order, but for language.",
      "Jozefowicz 等（2015）在三个任务上训练缺一个门的 lstm，得到这个顺序（语言建模除外）。"},
     {"The same ablation here: updates needed without each gate. And in the trained lstm each gate "
      "is held open: how much "
      "the loss grows.",
      "在这里做同样的消融：缺每个门时所需的更新数。另外，把训练后 lstm "
      "的每个门固定为开，看损失增加多少。"}},
    {{"Random-walk initialisation keeps the gradient", "随机游走初始化能保住梯度"},
     {"Sussillo & Abbott (2014): with weights of the right variance the size of the gradient does "
      "a random walk from layer to "
      "layer and neither vanishes nor explodes. The article recommends it for RNNs.",
      "Sussillo 与 "
      "Abbott（2014）：权重方差合适时，梯度的大小在层与层之间做随机游走，既不消失也不爆炸。文章把它"
      "推荐给 RNN。"},
     {"50 layers of tanh, 64 wide, at the scale that was best on other seeds, beside uniform "
      "weights of ±1/√n; and an rnn "
      "trained from such weights on sentences of 20 words.",
      "50 层 tanh、每层 64 宽，尺度在另外的种子上选出，与 ±1/√n "
      "的均匀初值对照；再从这样的权重出发在相隔 20 词的句子上训练 rnn。"}},
    {{"A deep net with weights of its own keeps what a repeated matrix loses",
      "各层权重不同的深网能保住重复矩阵丢掉的东西"},
     {"Vanishing is said to come from repeating one matrix: with other weights in every layer, the "
      "right scale is enough.",
      "据说消失来自重复同一个矩阵：如果每层权重不同，只要尺度合适就够了。"},
     {"The net of the claim before, and an rnn that applies one such matrix 50 times, at the same "
      "scales.",
      "上一条的深层网络，与在同样尺度上把一个这样的矩阵用 50 次的 rnn。"}},
};

const car_claim_words *car_story_claim(int claim) {
    return &claims[claim];
}

car_words car_verdict_word(car_verdict verdict) {
    static const car_words words[] = {{"Holds.", "成立。"},
                                      {"Holds in part.", "部分成立。"},
                                      {"Does not hold here.", "在这里不成立。"},
                                      {"Undecided at this budget.", "在此预算下未定。"}};
    return words[verdict];
}

car_words car_outcome_word(car_outcome outcome) {
    static const car_words words[] = {{"yes", "是"}, {"no", "否"}, {"undecided", "未定"}};
    return words[outcome];
}
