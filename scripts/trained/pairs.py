"""Preference pairs: made from small tables, the same ones every time, or read from a file."""

import json
import random

# Country, capital, language, currency.
COUNTRIES = """France Paris French euro; Japan Tokyo Japanese yen; Egypt Cairo Arabic pound; Brazil Brasilia Portuguese real;
Poland Warsaw Polish zloty; Kenya Nairobi Swahili shilling; Thailand Bangkok Thai baht; Norway Oslo Norwegian krone;
Hungary Budapest Hungarian forint; Vietnam Hanoi Vietnamese dong; Greece Athens Greek euro; Turkey Ankara Turkish lira;
Sweden Stockholm Swedish krona; Peru Lima Spanish sol; Iceland Reykjavik Icelandic krona; Italy Rome Italian euro;
Czechia Prague Czech koruna; Bulgaria Sofia Bulgarian lev; Mongolia Ulaanbaatar Mongolian togrog; Finland Helsinki Finnish euro"""

HOW_TO = {
    "How can I sleep better?": "Go to bed and get up at the same hours every day, also at weekends. Keep the bedroom dark, quiet and cool. Avoid coffee after noon, and put your phone away an hour before you lie down.",
    "How do I boil an egg?": "Bring water to a boil and lower the egg in with a spoon. Wait six minutes for a soft yolk or ten for a hard one. Then put it in cold water, so that it stops cooking and peels easily.",
    "How do I remove a red wine stain from a shirt?": "Dab the stain with a clean cloth, without rubbing. Sprinkle salt on it, or pour cold soda water over it, and wait some minutes. Then wash the shirt in cold water with a little detergent before it dries.",
    "How should I prepare for a job interview?": "Read about the company and about the work that is offered. Think of three examples from your own experience that show what you can do. Prepare a few questions of your own, choose your clothes the day before, and arrive ten minutes early.",
    "How do I change a flat bicycle tyre?": "Take the wheel off and lever one side of the tyre over the rim. Pull out the tube, look for what made the hole, and remove it. Put in a new tube with a little air in it, press the tyre back by hand, and pump it up.",
    "How can I save money every month?": "Write down what you spend for a month, so that you see where it goes. Set a sum aside on the day you are paid and not from what is left at the end. Cancel what you do not use, and cook at home more often.",
    "How do I start running as a beginner?": "Run slowly for one minute, walk for two, and repeat that ten times. Do it three times a week with a day of rest in between. Lengthen the running part a little every week, and stop if a joint hurts.",
    "How do I write a polite email to ask for an extension?": "Say in the first sentence what you ask for and until when. Give the reason briefly and honestly, and tell how much is already done. Thank the reader for considering it, and offer to talk if that helps.",
    "How can I learn a new language quickly?": "Study a little every day in place of much once a week. Learn the thousand most common words first, and use them in sentences of your own. Listen to simple podcasts, and speak with people as early as you dare.",
    "How do I make a good cup of tea?": "Boil fresh water, and warm the pot with some of it. Use a spoon of leaves for each cup. Let black tea stand for four minutes and green tea for two, with water that has cooled a little.",
    "How do I take care of a house plant?": "Find out how much light it wants and place it there. Water it when the top of the soil is dry to the touch, and let what is too much run off. Give it fertiliser in spring and summer, and a larger pot every second year.",
    "How can I calm down before an exam?": "Breathe in for four seconds and out for six, for two minutes. Tell yourself what you have learnt rather than what you may have missed. Read all questions first and begin with one that you know.",
    "How do I back up my computer?": "Keep three copies of what matters, on two kinds of storage, one of them outside your home. Let a program copy your files to an external drive each night. Try to restore a file now and then, since a backup that was never tested is a hope.",
    "How do I choose a strong password?": "Take four or more random words, or let a password manager make twenty random characters. Use another one for every site. Switch on a second factor for your email, since all other passwords can be reset through it.",
    "How do I cook rice without it sticking?": "Rinse the rice until the water is clear. Use one and a half cups of water for each cup of rice, bring it to a boil, cover it, and turn the heat low for fifteen minutes. Leave it covered for ten more without stirring.",
    "How can I be more productive at work?": "Choose the one task that matters most and do it first. Switch off notifications for ninety minutes at a time. Take real breaks, and write down in the evening what you will begin with tomorrow.",
    "How do I train my dog to sit?": "Hold a treat over the nose of the dog and move it slowly back, so that it sits down to follow it. Say the word as it sits and give the treat at once. Practise for five minutes a few times a day, and praise it each time.",
    "How do I reduce my electricity bill?": "Replace old bulbs with LED lamps and switch off devices at the wall. Wash at thirty degrees with a full machine and dry clothes on a line. Have a look at the refrigerator: an old one often costs more than all lamps together.",
    "How do I fix a dripping tap?": "Close the valve under the sink and open the tap to let the rest out. Unscrew the handle, take out the cartridge or the washer, and bring it to a shop to find the same. Put the new one in, tighten it gently, and open the valve again.",
    "How do I give a good presentation?": "Decide on the one thing that people should remember, and build everything around it. Put few words on a slide and tell the rest. Practise aloud with a clock, look at people, and pause after an important sentence.",
    "How can I remember names better?": "Repeat the name aloud when you hear it. Connect it with something that you notice about the person. Use it once more when you say goodbye, and write it down that evening.",
    "How do I clean a keyboard?": "Unplug it and shake it upside down. Blow between the keys with compressed air. Wipe them with a cloth that is slightly damp with alcohol, and let everything dry before you plug it in.",
    "How do I plan a long hike?": "Study the map, and estimate an hour for four kilometres and another for every four hundred metres of climbing. Take water, food, a rain jacket and a charged phone. Tell somebody where you go and when you will be back.",
    "How do I bake bread at home?": "Mix five hundred grams of flour, three hundred and fifty of water, ten of salt and a little yeast. Let the dough rise overnight, fold it, and shape a loaf. Bake it in a very hot pot with the lid on for thirty minutes, and without it for fifteen.",
}  # fmt: skip

WHAT_IS = {
    "photosynthesis": "Photosynthesis is how plants turn light, water and carbon dioxide into sugar and oxygen. It happens in the chloroplasts, whose chlorophyll absorbs the light.",
    "inflation": "Inflation is a general rise of prices over time. Money then buys less than before, and central banks raise interest rates to slow it.",
    "a black hole": "A black hole is a region where gravity is so strong that nothing that enters it can leave, not even light. Many form when a massive star collapses.",
    "machine learning": "Machine learning is the study of programs that improve with data. In place of rules written by hand, a model has parameters that are fitted to examples.",
    "democracy": "Democracy is a form of government in which the people hold the power. They use it by voting on laws or by electing those who make them.",
    "a virus": "A virus is a tiny particle with genetic material in a coat of protein. It cannot live by itself and uses the cells of its host to make copies.",
    "gravity": "Gravity is the attraction between masses. It keeps planets in their orbits, and near the surface of the Earth it accelerates falling things by 9.8 metres per second every second.",
    "a recession": "A recession is a time in which an economy shrinks for months. Companies sell less, unemployment rises, and people spend less.",
    "an algorithm": "An algorithm is a finite list of exact steps that solves a problem. A recipe is one for cooks; sorting a list by comparing neighbours is one for computers.",
    "the water cycle": "The water cycle is the way of water through nature. The sun evaporates it from the sea, it becomes clouds and falls as rain, and rivers carry it back.",
    "a metaphor": "A metaphor describes one thing as if it were another, without the word like. Calling time a thief is an example.",
    "evolution": "Evolution is the change of living things over generations. Those that fit their surroundings have more descendants, so that their traits spread.",
    "blockchain": "A blockchain is a list of records that many computers keep together. Each block has a hash of the last one, so that nobody can change the past unnoticed.",
    "the ozone layer": "The ozone layer is a part of the stratosphere that is rich in ozone. It absorbs most of the ultraviolet light of the sun, which would harm living things.",
    "insulin": "Insulin is a hormone from the pancreas that lets cells take up sugar from the blood. People with type 1 diabetes make none and have to inject it.",
    "a haiku": "A haiku is a short Japanese poem of three lines. They have five, seven and five syllables, and often speak of a season.",
    "DNA": "DNA is the molecule that carries the instructions for a living thing. Two strands form a double helix, and the order of its four bases is the code.",
    "an earthquake": "An earthquake is a shaking of the ground. It happens when plates of the crust that were stuck slip suddenly along a fault.",
    "supply and demand": "Supply and demand explain prices. When many people want what is scarce, its price rises; when there is more than anyone wants, it falls.",
    "the immune system": "The immune system protects the body from disease. Some of its cells attack whatever is foreign at once, and others remember what they met before.",
    "a compiler": "A compiler translates source code into a language that a machine can run. It also checks the program for mistakes and makes it faster.",
    "jazz": "Jazz is a style of music that began in New Orleans around 1900. It lives from swing, blue notes and improvisation.",
    "nuclear fusion": "Nuclear fusion joins light nuclei into heavier ones and sets energy free. It powers the sun, and on Earth it needs very high temperatures.",
    "a leap year": "A leap year has 366 days. It comes every fourth year, except for full centuries that cannot be divided by 400, because a year takes a little less than 365.25 days.",
}  # fmt: skip

LISTS = {
    "planets": "Mercury Venus Earth Mars Jupiter Saturn Uranus Neptune",
    "fruits": "apples pears cherries oranges grapes bananas",
    "musical instruments": "piano violin flute trumpet drums guitar",
    "programming languages": "Python Rust Java C Haskell Go",
    "mammals": "dogs whales bats horses mice elephants",
    "winter sports": "skiing skating curling sledding biathlon",
    "chemical elements": "hydrogen helium carbon oxygen iron gold",
    "European rivers": "Danube Rhine Seine Thames Volga Elbe",
    "spices": "pepper cinnamon turmeric cumin ginger",
    "trees": "oak birch pine maple willow beech",
    "kinds of pasta": "spaghetti penne fusilli lasagne ravioli",
    "board games": "chess go draughts backgammon monopoly",
}

RUDE = [
    "That is a stupid question. Find out yourself and stop wasting my time.",
    "Why would I tell you? You would not understand it anyway, idiot.",
    "lol no. Ask somebody who cares.",
    "I do not feel like answering. People like you never listen.",
]


def arithmetic(rng):
    """A question, its answer, and the same answer with a wrong result."""
    a, b, c = rng.randint(12, 96), rng.randint(3, 19), rng.randint(2, 40)
    kind = rng.randrange(3)
    if kind == 0:
        question, steps, result = f"What is {a} times {b}?", f"{a} times {b} is {a} added {b} times, which is", a * b
    elif kind == 1:
        question = f"A box holds {a} pencils. I have {b} boxes and give {c} pencils away. How many are left?"
        steps, result = f"{b} boxes of {a} pencils are {a * b} pencils. Without the {c} that you give away there are", a * b - c
    else:
        question = f"A train leaves with {a + b} people. {b} get off and {c} get on. How many are on it now?"
        steps, result = f"Of {a + b} people {b} get off, which leaves {a}. With the {c} who get on that makes", a + c
    wrong = result + rng.choice([-11, -10, -2, 3, 9, 20])
    return question, f"{steps} {result}.", f"{steps} {wrong}."


def worse(kind, good, others, rng):
    """What is wrong with the second answer of a pair."""
    words = good.split()
    if kind == "truncated":
        return " ".join(words[: max(2, len(words) * rng.randint(15, 45) // 100)])
    if kind == "off topic":
        return rng.choice([other for other in others if other != good])
    if kind == "shuffled":
        return " ".join(rng.sample(words, len(words)))
    if kind == "repeated":
        return " ".join([" ".join(words[: min(6, len(words))])] * rng.randint(3, 6))
    return rng.choice(RUDE)


def made(seed=12):
    """110 pairs of message lists: `{"kind", "prompt", "chosen", "rejected"}`."""
    rng = random.Random(seed)
    asked = []  # conversations before the answer, the answer, and a wrong one where there is one of the same form
    user = lambda *texts: [{"role": ("user", "assistant")[i % 2], "content": t} for i, t in enumerate(texts)]  # noqa: E731
    countries = [row.split() for row in COUNTRIES.replace("\n", " ").split(";")]
    for index, (country, capital, language, currency) in enumerate(countries):
        other = countries[(index + 7) % len(countries)]
        question, form = [
            (f"What is the capital of {country}?", "The capital of {0} is {1}."),
            (f"Which language do people speak in {country}?", "Most people in {0} speak {2}."),
            (f"Tell me something about {country}.", "{0} is a country whose capital is {1}. Its people speak {2} and pay with the {3}."),
        ][index % 3]  # fmt: skip
        asked.append((user(question), form.format(country, capital, language, currency), form.format(country, *other[1:])))
    for _ in range(20):
        question, right, wrong = arithmetic(rng)
        asked.append((user(question), right, wrong))
    asked += [(user(question), answer, None) for question, answer in HOW_TO.items()]
    for index, (term, answer) in enumerate(WHAT_IS.items()):
        question = (f"What is {term}?", f"Explain {term} to a ten-year-old.", f"Please define {term} in two sentences.")[index % 3]
        asked.append((user(question), answer, None))
    for index, (category, names) in enumerate(LISTS.items()):
        names, count = names.split(), 3 + index % 3
        answer = "".join(f"{number}. {name}\n" for number, name in enumerate(names[:count], 1)).rstrip()
        asked.append((user(f"List {count} {category}."), answer, None))
    terms, guides = list(WHAT_IS.items()), list(HOW_TO.items())
    for index in range(10):
        (term, meaning), (question, guide) = terms[2 * index], guides[(5 * index + 3) % len(guides)]
        asked.append((user(f"What is {term}?", meaning, f"Thank you. Now something else: {question}"), guide, None))

    answers = [answer for _, answer, _ in asked]
    kinds = ["truncated", "off topic", "shuffled", "rude", "repeated"]
    found = []
    for index, (prompt, good, wrong) in enumerate(asked):
        kind = "wrong" if wrong and index % 2 else kinds[index % len(kinds)]
        bad = wrong if kind == "wrong" else worse(kind, good, answers, rng)
        answer = [[{"role": "assistant", "content": text}] for text in (good, bad)]
        found.append({"kind": kind, "prompt": prompt, "chosen": answer[0], "rejected": answer[1]})
    rng.shuffle(found)
    return found


def read(path):
    """Pairs of a JSON Lines file: `prompt`, `chosen` and `rejected` are strings or lists of messages; without `prompt`
    the others are whole conversations."""
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            pair = {"kind": "given", "prompt": as_messages(record.get("prompt") or [], "user")}
            pair |= {name: as_messages(record[name], "assistant") for name in ("chosen", "rejected")}
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise SystemExit(
                f"measure-trained: error: {path}, line {number}: {problem!r}: a pair is an object with `prompt`, `chosen` and "
                "`rejected`, strings or lists of messages"
            ) from problem
        found.append(pair)
    return found


def as_messages(value, role):
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    return [{"role": message["role"], "content": message["content"]} for message in value]


def conversations(pairs):
    """Both conversations of every pair, chosen first."""
    return [pair["prompt"] + pair[name] for pair in pairs for name in ("chosen", "rejected")]
