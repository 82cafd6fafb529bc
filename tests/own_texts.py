"""Lines that people might bring, drawn from small grammars: folders of one file a person."""

import random
import re

LETTERS = {
    "formal": (
        """dear WHOM, WE write to inform you that THING STATE
        we regret that THING STATE, and remain at your service
        please find enclosed THING, which STATE
        i would be grateful if you could SEND THING by DAY
        kindly SEND THING to our OFFICE before DAY
        with regard to THING, we regret the delay
        yours faithfully, the OFFICE""",
        {
            "WHOM": "sir|madam|colleague|customer",
            "WE": "we|i",
            "THING": "the invoice|your application|the contract|the account|your order",
            "STATE": "has been received|is under review|was approved|remains outstanding",
            "SEND": "send|forward|return",
            "DAY": "monday|friday|the end of the month",
            "OFFICE": "office|department|bank",
        },
    ),
    "informal": (
        """hey WHO, did you GET my THING
        hi WHO, THING was so GOOD, love it
        i cannot wait to see you on DAY, bring THING
        please bring THING when you come over, ok
        thanks for THING, it was GOOD and we had fun
        see you DAY, love WHO
        guess what, WHO got a THING, so GOOD""",
        {
            "WHO": "tom|lisa|mum|guys",
            "GET": "get|like|see",
            "THING": "cake|photos|pizza|guitar|the dog",
            "GOOD": "good|funny|cool|great",
            "DAY": "monday|friday|sunday|the weekend",
        },
    ),
}
PROFESSIONS = {
    "nurse": (
        """the PATIENT in BED NEEDS DRUG WHEN
        the PATIENT slept well and took DRUG
        we check the SIGN WHEN and write it down
        i gave DRUG to the PATIENT in BED
        doctor, the SIGN is HIGH, the PATIENT NEEDS DRUG
        you should rest and take DRUG WHEN
        please check the SIGN in BED""",
        {
            "PATIENT": "patient|child|old man",
            "BED": "bed two|bed five|ward three",
            "NEEDS": "needs|wants|refused",
            "DRUG": "insulin|aspirin|water|the drip",
            "WHEN": "tonight|at noon|every hour",
            "SIGN": "pulse|pressure|temperature",
            "HIGH": "high|low|normal",
        },
    ),
    "carpenter": (
        """the BOARD is LONG, so CUT it WHERE
        the JOINT holds if you GLUE it WHEN
        we CUT the BOARD WHEN and sand the edges
        i built the PIECE from WOOD
        measure twice, then CUT the BOARD
        you should GLUE the JOINT before the BOARD
        please CUT the BOARD WHERE""",
        {
            "BOARD": "board|plank|beam",
            "LONG": "long|thick|warped",
            "CUT": "cut|saw|plane",
            "WHERE": "here|at the mark|square",
            "JOINT": "joint|frame|drawer",
            "GLUE": "glue|clamp|nail",
            "WHEN": "tonight|at noon|first",
            "PIECE": "table|shelf|door",
            "WOOD": "pine|oak|birch",
        },
    ),
}
CHINESE = {
    "学生": (
        """我DAY不想STUDY,WORK太多了
        你DAY去WHERE玩,我们一起PLAY吧
        老师说WORK很难,我不想STUDY
        我们DAY一起PLAY好吗
        他说WORK太多,不想STUDY""",
        {
            "DAY": "今天|明天|昨天",
            "STUDY": "上学|上课|起床|复习",
            "WORK": "作业|功课|考试",
            "WHERE": "哪里|哪儿|公园",
            "PLAY": "打球|吃饭|看电影",
        },
    ),
    "商人": (
        """我们SHOP的GOODS价格便宜,质量很好
        你要BUY多少GOODS,价格可以谈
        老板说GOODS今天到SHOP,请付钱
        我们SHOP昨天卖了很多GOODS
        他要BUY这种GOODS,价格太高""",
        {"SHOP": "公司|店里|工厂", "GOODS": "货|茶叶|布", "BUY": "买|订"},
    ),
}
SETS = {"letters": (LETTERS, (60, 60)), "professions": (PROFESSIONS, (200, 60)), "chinese": (CHINESE, (120, 90))}


def draw(grammar, num, rng):
    """Random sentences of a grammar: words in capitals stand for one of some others."""
    sentences, words = grammar
    pattern = re.compile("|".join(sorted(words, key=len, reverse=True)))
    fill = lambda match: rng.choice(words[match[0]].split("|"))  # noqa: E731
    return [pattern.sub(fill, rng.choice(sentences.splitlines()).strip()) for _ in range(num)]


def write(folder, name):
    """One of ``SETS`` as files; returns the folder."""
    people, nums = SETS[name]
    folder.mkdir()
    rng = random.Random(name)
    for (person, grammar), num in zip(people.items(), nums, strict=True):
        (folder / f"{person}.txt").write_text("\n".join(draw(grammar, num, rng)), encoding="utf-8")
    return folder
