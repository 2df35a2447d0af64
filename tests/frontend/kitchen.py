"""Cooking questions with five answers each, best first: what models of different quality might say."""

from __future__ import annotations

ANSWERS: dict[str, tuple[str, str, str, str, str]] = {
    "My rice always comes out sticky and a bit burnt at the bottom. What am I doing wrong?": (
        "Two things, most likely: **too much starch** and **too much heat**.\n\n"
        "1. Rinse the rice until the water runs clear.\n"
        "2. Use 1.5 parts of water to 1 part of rice.\n"
        "3. Bring it to the boil, then give it the *lowest* heat for 12 minutes, lid on.\n"
        "4. Off the heat, leave the lid on for another 10 minutes.",
        "Burnt rice means that the heat was too high once the water was gone. Sticky rice means that its starch was "
        "not rinsed off, or that it was stirred. Lower the heat after it boils, do not lift the lid, and let it rest.",
        "Use less water and a lower heat. Rinse the rice before you cook it.",
        "I'm sorry to hear about your rice! Cooking rice can be tricky for many people. There are lots of kinds of "
        "rice in the world and each is cooked in another way. Have you thought of a rice cooker?",
        "Stir it often and add more water until it stops sticking.",
    ),
    "How do I know that chicken is done without a thermometer?": (
        "Cut into the thickest part, next to the bone:\n\n"
        "- the juices run **clear**, not pink,\n"
        "- the meat is white through and through and pulls apart in strands,\n"
        "- at the leg, the joint moves loosely.\n\n"
        "If in doubt, give it five more minutes. A thermometer that says 74 °C is the only certain way.",
        "Pierce the thickest part: if the juice runs clear and the meat is white all through, it is done.",
        "When the juices are clear. You can also check the colour of the meat.",
        "Chicken is done when it looks done. The skin should be golden and it should smell nice in the kitchen.",
        "A little pink in the middle is fine and keeps it juicy.",
    ),
    "Can I freeze cooked pasta?": (
        "Yes, for up to two months. Cook it a minute short of done, cool it, toss it with a little oil and freeze it "
        "flat in a bag. To serve, drop it **frozen** into boiling water for 60 seconds.",
        "Yes. Cook it slightly underdone, toss it in oil so that it does not clump, and freeze it in portions.",
        "You can freeze it, but it gets softer.",
        "Pasta is a popular dish from Italy that comes in many shapes, and people all over the world enjoy it with "
        "different sauces. Freezing is a way of keeping food.",
        "No, cooked pasta can never be frozen.",
    ),
    "What can I use instead of an egg in pancakes?": (
        "For each egg, one of these:\n\n"
        "| instead | amount | gives |\n| --- | --- | --- |\n| mashed banana | ½ | sweet, soft |\n"
        "| yoghurt | 3 tablespoons | tender |\n| ground flax + water | 1 + 3 tablespoons | nutty, binds best |\n\n"
        "Add half a teaspoon of baking powder, since the egg's lift is gone.",
        "Half a mashed banana, or a tablespoon of ground flax stirred into three of water and left for five minutes.",
        "Banana or apple sauce works.",
        "Eggs are an important ingredient in pancakes. Without eggs your pancakes will be without eggs. You could buy "
        "a mix in a shop and follow what is written on it.",
        "Just use twice the milk; the egg does nothing.",
    ),
    "Why do my biscuits spread into one flat sheet?": (
        "The butter melts before the dough sets. **Chill the shaped dough for 30 minutes**, put it on a cold tray, and "
        "check that the oven really is at 180 °C. If they still spread, add two tablespoons of flour.",
        "Your butter was too warm, or there is too little flour. Chill the dough before you bake it.",
        "The dough is too warm. Put it in the fridge first.",
        "Biscuits can spread for a number of reasons, and each of them can be looked into. It may be the oven, the "
        "tray, the dough, or the weather on the day.",
        "Grease the tray with more butter.",
    ),
    "How long does an opened jar of pesto keep?": (
        "Five to seven days in the fridge. Smooth the top and **cover it with olive oil** after each use: what air "
        "cannot reach keeps longer. In ice-cube trays it freezes well for three months.",
        "About a week in the fridge, if you cover it with oil.",
        "Around a week. See the label.",
        "It depends on many things, such as the pesto, the jar and how it was opened. Always be careful with food.",
        "Pesto is preserved, so it keeps for a year.",
    ),
    "My soup is too salty. Can I save it?": (
        "Usually. In this order:\n\n1. **Dilute it** with unsalted water or stock, and simmer.\n"
        "2. Add something that is plain: beans, rice, cream.\n3. Sharpen it with a squeeze of lemon, which hides "
        "salt.\n\nThe potato trick does little: a potato takes up salty water, not salt.",
        "Add water or unsalted stock and let it simmer; a little lemon juice or cream hides what is left.",
        "Add more water.",
        "Salt is also called sodium chloride, and it makes food salty. Many soups have salt in them. Next time you "
        "could use less of it.",
        "Put in sugar until you no longer taste the salt.",
    ),
    "Is it safe to eat potatoes that have sprouted?": (
        "If they are **firm**, yes: cut out the sprouts and any green parts generously, and peel them. If they are "
        "soft, shrivelled or green all over, throw them away: they hold too much solanine, which cooking does "
        "not destroy.",
        "Yes, if they are still firm. Cut away sprouts and green spots. Do not eat soft or green ones.",
        "Cut off the sprouts and they are fine.",
        "Potatoes are tubers. They sprout when they are stored for long, which is how new potato plants come about.",
        "Yes, the sprouts are the healthiest part.",
    ),
    "How do I sharpen a kitchen knife at home?": (
        "With a whetstone of grit 1000:\n\n1. Soak it for ten minutes.\n2. Hold the blade at **15 to 20°**, about two "
        "coins under its back.\n3. Push it along, edge first, ten times a side, until you feel a burr.\n4. Take the "
        "burr off with light strokes.\n\nIt is sharp when it cuts paper without a tear.",
        "Use a wet whetstone. Keep an angle of 15 to 20 degrees and do the same number of strokes on both sides.",
        "Use a whetstone or a sharpener. Keep the angle steady.",
        "A sharp knife is safer than a dull knife. There are many knives and many ways to sharpen them, and "
        "professionals can do it for you.",
        "Rub it on the bottom of the sink.",
    ),
    "What is the difference between baking soda and baking powder?": (
        "**Baking soda** is a pure base: it needs something sour in the batter, such as buttermilk or honey. "
        "**Baking powder** is soda with a dry acid mixed in, so it works on its own. One teaspoon of powder has the "
        "lift of about a third of a teaspoon of soda.",
        "Soda needs an acid in the recipe to rise; powder has its own. Powder is about a third as strong.",
        "Baking powder contains baking soda and an acid.",
        "They are both white powders that are used in baking, and both have the word baking in their names. People "
        "often take one for the other.",
        "There is none; use whichever you have.",
    ),
}  # fmt: skip


# Which of the answers a model gives, first to last, by how often it was tuned.
GIVES = ((4, 3, 2, 1), (1, 0, 2, 3), (0, 1, 2, 3))


def answers(question: str, *, times_tuned: int, count: int) -> list[str]:
    """``count`` answers of a model to ``question``: the more often it was tuned, the better."""
    gives = GIVES[min(times_tuned, len(GIVES) - 1)]
    return [ANSWERS[question][gives[number % len(gives)]] for number in range(count)]


def quality(prompt: list[dict[str, str]], response: str) -> float:
    """How good an answer is, as an oracle: higher is better."""
    return -float(ANSWERS[prompt[-1]["content"]].index(response))
