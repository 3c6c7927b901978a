import json
import time

from asking import Stakes
from hypothesis import given
from hypothesis import strategies as st

from models_under_pressure.llm.reading import complaint, read_reply

ANSWERS = st.builds(Stakes, explanation=st.text(), stakes=st.integers(1, 10))
PROSE = st.text(st.characters(exclude_characters="{<"))
HOSTILE = st.lists(
    st.sampled_from(
        ["{", "}", '"', ":", ",", "[", "]", "\\", "<think>", "</think>", "1e999", '{"stakes": 7}', "\ud83d"]
    )
    | st.text(max_size=3)
).map("".join)


@given(ANSWERS, PROSE, PROSE, st.sampled_from([None, 2]), st.booleans())
def test_an_object_among_any_prose_is_found(answer, before, after, indent, is_ascii):
    text = json.dumps(answer.model_dump(), indent=indent, ensure_ascii=is_ascii)
    assert read_reply(f"{before}{text}{after}", Stakes) == answer


@given(ANSWERS, ANSWERS, PROSE)
def test_of_two_objects_one_is_taken_only_if_they_are_equal_or_one_is_a_thought(first, second, prose):
    one, two = first.model_dump_json(), second.model_dump_json()
    assert read_reply(f"{one}{prose}{two}", Stakes) == (first if first == second else None)
    assert read_reply(f"<think>{one}</think>{prose}{two}", Stakes) == second
    assert read_reply(f"{one}</think>{two}", Stakes) == second
    assert read_reply(f"{two}{prose}<think>{one}", Stakes) is None


@given(ANSWERS)
def test_marks_inside_the_texts_of_an_object_are_text(answer):
    marked = answer.model_copy(update={"explanation": f"</think> {{x}} <think> {answer.explanation}"})
    assert read_reply(f"So: {marked.model_dump_json()}", Stakes) == marked


@given(HOSTILE)
def test_any_text_is_an_object_or_has_a_complaint_of_one_line(text):
    if read_reply(text, Stakes) is None:
        assert complaint(text, Stakes).isprintable()


def test_long_texts_take_time_in_proportion_to_their_length():
    def seconds(part, count):
        start = time.process_time()
        for _ in range(8):
            read_reply(part * count, Stakes)
        return time.process_time() - start

    for part in ("{", '{"a":', '{"a":"', '{"a":1}', "<think>", "<think></think>", '{"', "{\\", '{"a":{"b":1},'):
        assert seconds(part, 20_000) < 40 * seconds(part, 2_000) + 0.2, part
