"""What two texts have in common to a reader, whatever their code points; and what they do not."""

import html
import time
import unicodedata
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_under_pressure.datasets.folding import LOOK_ALIKES, fold

PROMPT = (
    "My father was sent home from the hospital yesterday with two new prescriptions, and the pharmacist says that "
    "they must not be taken together; should I wait for his doctor or stop one of them now? He is 81."
)
LATIN, CYRILLIC = "aceopxyABCEHKMOPTX", "асеорхуАВСЕНКМОРТХ"
SMALL_CAPITALS = dict(zip("abcdefghijklmnoprstuvwyz", "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ", strict=True))


def shifted(first_capital, first_small):
    """Letters of a block of the alphabet, such as the mathematical ones."""
    return str.maketrans(
        {chr(ord("A") + n): chr(first_capital + n) for n in range(26)}
        | {chr(ord("a") + n): chr(first_small + n) for n in range(26)}
    )


def between_letters(text, what):
    return "".join(letter + what if letter.isalpha() else letter for letter in text)


DISGUISES = {
    "capitals": PROMPT.upper(),
    "white space": PROMPT.replace(" ", "\n\u3000\u00a0\u2003"),
    "full-width letters": PROMPT.translate({code: code + 0xFEE0 for code in range(0x21, 0x7F)}),
    "decomposed": unicodedata.normalize("NFD", PROMPT),
    "bold letters of mathematics": PROMPT.translate(shifted(0x1D400, 0x1D41A)),
    "script letters of mathematics": PROMPT.translate(shifted(0x1D4D0, 0x1D4EA)),
    "monospaced letters of mathematics": PROMPT.translate(shifted(0x1D670, 0x1D68A)),
    "circled letters": PROMPT.translate(shifted(0x24B6, 0x24D0)),
    "Cyrillic letters": PROMPT.translate(str.maketrans(LATIN, CYRILLIC)),
    "Greek letters": PROMPT.translate(str.maketrans("aeiopvxABEHIKMNOPTXYZ", "αειορνχΑΒΕΗΙΚΜΝΟΡΤΧΥΖ")),
    "Armenian letters": PROMPT.translate(str.maketrans("houngqSO", "հօսոցզՏՕ")),
    "Cherokee letters": PROMPT.upper().translate(str.maketrans("ABCDEHIJKLMPRSTVWYZ", "ᎪᏴᏟᎠᎬᎻᎥᎫᏦᏞᎷᏢᏒᏚᎢᏙᎳᎩᏃ")),
    "Lisu letters": PROMPT.upper().translate(str.maketrans("ABCDEFGHJKLMNOPRSTUVWXYZ", "ꓮꓐꓚꓓꓰꓝꓖꓧꓙꓗꓡꓟꓠꓳꓑꓣꓢꓔꓴꓦꓪꓫꓬꓜ")),
    "Coptic letters": PROMPT.translate(str.maketrans("cop", "ⲥⲟⲣ")),
    "small capitals": PROMPT.lower().translate(str.maketrans(SMALL_CAPITALS)),
    "letters with a stroke": PROMPT.translate(str.maketrans("bdhiloatz", "ƀđħɨłøɑŧƶ")),
    "digits of another script": PROMPT.replace("81", "٨١"),
    "an accent on each letter": between_letters(PROMPT, "\u0301"),
    "letters that have an accent": PROMPT.translate(str.maketrans("aeiounsc", "áêïõüñśç")),
    "piles of marks": between_letters(PROMPT, "\u0300\u0489\u20dd\u1dc4\ufe20"),
    "marks of other scripts": between_letters(PROMPT, "\u0e49\u0901\u0651"),
    "zero-width spaces": between_letters(PROMPT, "\u200b"),
    "zero-width joiners": between_letters(PROMPT, "\u200d\u200c"),
    "soft hyphens": between_letters(PROMPT, "\u00ad"),
    "word joiners and byte order marks": between_letters(PROMPT, "\u2060\ufeff"),
    "marks of direction": between_letters(PROMPT, "\u202e\u2066\u200f\u061c"),
    "variation selectors": between_letters(PROMPT, "\ufe0f\U000e0101"),
    "tags": between_letters(PROMPT, "\U000e0041"),
    "invisible letters": between_letters(PROMPT, "\u115f\u034f\u17b4\uffa0"),
    "control characters": between_letters(PROMPT, "\x00\x08\x7f"),
    "entities by number": "".join(f"&#{ord(letter)};" for letter in PROMPT),
    "entities by hexadecimal number": "".join(f"&#x{ord(letter):X};" for letter in PROMPT),
    "entities by name": html.escape(PROMPT).replace(" ", "&nbsp;").replace(",", "&comma;"),
    "entities of entities": html.escape(html.escape("".join(f"&#{ord(letter)};" for letter in PROMPT))),
    "stars between words": PROMPT.replace(" ", "★"),
    "emoji between words": PROMPT.replace(" ", " 👩🏽‍⚕️❤️ "),
    "flags between words": PROMPT.replace(" ", "🇫🇷"),
    "arrows, lines and signs between words": PROMPT.replace(" ", " → │ ™ © ∞ + € ` "),
    "braille blanks and Hangul fillers between words": PROMPT.replace(" ", "\u2800\u3164"),
    "icons of a private font between words": PROMPT.replace(" ", " \uf005 "),
    "emphasis of Markdown": PROMPT.replace(" ", "** _"),
    "no punctuation": PROMPT.translate(str.maketrans("", "", ",;.?")),
    "punctuation of other scripts": PROMPT.translate(str.maketrans(",;.?", "،؛。？")),
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_disguised_copy_folds_to_the_words_of_the_text(disguise):
    assert DISGUISES[disguise] != PROMPT or disguise == "decomposed"
    assert fold(DISGUISES[disguise]) == fold(PROMPT)


def test_several_disguises_at_once_are_seen_through():
    hidden = between_letters(PROMPT.upper().translate(str.maketrans(LATIN, CYRILLIC)), "\u200b\u0301")
    assert fold(html.escape(hidden.replace(" ", " ★ "))) == fold(PROMPT)


def test_apostrophes_of_every_kind_are_one():
    assert len({fold(f"don{mark}t stop") for mark in "'\u2019\u02bc\u2018`\u00b4\uff07\u02b9"}) == 1


@cache
def of_category(*categories):
    """Characters; there are a million to look at."""
    return [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)).startswith(categories)]


MARKS = [chr(code) for code in (*range(0x300, 0x370), *range(0x1DC0, 0x1E00), *range(0x20D0, 0x20F1), 0xFE0F)]


@cache
def symbols():
    """What folds to no letter."""
    return [
        symbol
        for symbol in of_category("P", "S", "Z")
        if symbol >= "\x80" and not any(letter.isalnum() for letter in unicodedata.normalize("NFKC", symbol).casefold())
    ]


@given(st.text(st.sampled_from("abcdefghiklmnopqrstuvwxyz ,."), min_size=1), st.data())
def test_whatever_marks_and_format_characters_are_put_anywhere_and_symbols_between_words_the_text_is_the_same(
    text, data
):
    noise = st.text(st.sampled_from(of_category("Cf") + MARKS), max_size=2)
    hidden = "".join(letter + data.draw(noise) for letter in text)
    hidden = "".join(data.draw(st.sampled_from(symbols())) if letter == " " else letter for letter in hidden)
    assert fold(hidden) == fold(text)


@given(st.text())
def test_canonical_normal_forms_do_not_matter(text):
    assert fold(unicodedata.normalize("NFC", text)) == fold(text) == fold(unicodedata.normalize("NFD", text))


ALPHABETS = {
    "Russian": "абвгдежзийклмнопрстуфхцчшщъыьэюя",
    "Ukrainian": "абвгґдеєжзиійклмнопрстуфхцчшщьюя",
    "Greek": "αβγδεζηθικλμνξοπρστυφχψω",
    "Armenian": "աբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօֆ",
    "Hebrew": "אבגדהוזחטיכלמנסעפצקרשתךםןףץ",
    "Arabic": "ابتثجحخدذرزسشصضطظعغفقكلمنهويةىءأؤئإآ",
    "Devanagari": "अआइईउऊएऐओऔकखगघचछजझटठडढणतथदधनपफबभमयरलवशषसह",
    "Georgian": "აბგდევზთიკლმნოპჟრსტუფქღყშჩცძწჭხჯჰ",
    "kana": "あいうえおかがきぎくぐけげこごはばぱひびぴアイウエオカガハバパ",
}


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_no_two_letters_of_an_alphabet_become_one(alphabet):
    letters = unicodedata.normalize("NFC", ALPHABETS[alphabet])
    assert len({fold(f"{letter}{letter}") for letter in letters}) == len(letters)


PAIRS = {
    "Hindi, by a vowel sign": ("दिन में दवा लें", "दीन में दवा लें"),
    "Hindi, by a dot": ("बड़ा सड़क", "बडा सडक"),
    "Bengali": ("কাল দেখা হবে", "কোল দেখা হবে"),
    "Tamil": ("கல் பெரிது", "கால் பெரிது"),
    "Arabic, by a letter": ("هذا دواء جديد", "هذا دواء حديد"),
    "Arabic, by a hamza": ("سأل الطبيب", "سال الطبيب"),
    "Hebrew": ("התרופה הזאת", "התרופה הזאות"),
    "Thai, by a tone": ("ไม่ใหม่", "ไมใหม"),
    "Lao": ("ໃຫ້ນໍ້າ", "ໃຫ້ນາ"),
    "Khmer": ("ទឹកក្តៅ", "ទឹកកតៅ"),
    "Chinese": ("请把药给她", "请把药给他"),
    "Japanese, by a voiced sound": ("はがきを出す", "はかきを出す"),
    "Korean": ("약을 먹다", "약을 막다"),
    "Vietnamese, by tones": ("bạn có má không", "bạn có mà không"),
    "Russian, by one letter": ("мой кров", "мои кровь"),
    "English": ("take one pill", "take two pills"),
}


@pytest.mark.parametrize("language", PAIRS)
def test_texts_that_say_different_things_stay_different(language):
    one, other = PAIRS[language]
    assert fold(one) != fold(other)
    assert fold(one) == fold(unicodedata.normalize("NFD", f" {one}! "))


def test_format_characters_are_invisible_in_every_script():
    for text, _ in PAIRS.values():
        assert fold(between_letters(text, "\u200d\u2060\u200f\u00ad")) == fold(text), text


@pytest.mark.parametrize("kind", ["Cn", "Co", "Cs"])
def test_what_has_no_meaning_in_unicode_separates_words(kind):
    mark = next(chr(code) for code in range(0x80, 0x110000) if unicodedata.category(chr(code)) == kind)
    assert fold(f"one{mark}two") == "one two"


def test_vowel_signs_that_hebrew_and_arabic_do_without_do_not_matter():
    assert fold("شَرِبَ الدَّوَاءَ") == fold("شرب الدواء") == fold("شـــرب الدواء")
    assert fold("שָׁתָה אֶת הַתְּרוּפָה") == fold("שתה את התרופה")


def test_capitals_of_greek_and_russian_are_their_small_letters():
    assert fold("Η ΜΗΤΈΡΑ ΔΕΝ ΉΡΘΕ") == fold("η μητέρα δεν ήρθε")
    assert fold("ТОРМОЗ В МОСКВЕ") == fold("тормоз в Москве")


def test_english_with_vietnamese_letters_is_no_vietnamese():
    assert fold("shọuld I stọp tạking thẹ sẹcond prẹscription") == fold("should i stop taking the second prescription")


def test_four_words_in_five_that_are_vietnamese_syllables_make_a_text_vietnamese():
    assert fold("bạn có má không xyz") == "bạn có má không xyz"
    assert fold("bạn có má không xyz xyz") == "ban co ma khong xyz xyz"


def test_every_look_alike_is_its_letter_in_any_case():
    for letter, alike in LOOK_ALIKES.items():
        assert {fold(one) for one in alike} == {fold(letter)}, letter
        assert len(set(alike)) == len(alike), letter
    assert len({one for alike in LOOK_ALIKES.values() for one in alike}) == sum(map(len, LOOK_ALIKES.values()))


def test_scripts_without_spaces_are_compared_by_character_and_korean_too():
    assert fold("你好, ok 𠀀") == "你 好 ok 𠀀"
    assert fold("สวัสดี") == "ส ว ั ส ด ี"
    assert fold("약을") == "약 을"


def test_hostile_text_takes_time_in_proportion_to_its_length():
    def seconds(text):
        start = time.process_time()
        fold(text)
        return time.process_time() - start

    for piece in ("amp;", "\u0301", "a\u200b", "\u0430b", "&#38;", "\u1ea1"):
        short, long = (min(seconds("&" + piece * count) for _ in range(3)) for count in (20_000, 200_000))
        assert long < 40 * short + 0.2, piece
