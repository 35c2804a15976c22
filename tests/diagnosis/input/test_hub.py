"""Models by name from local folders, with no network: sequence, image and causal."""

import json
import warnings

import numpy as np
import pytest

transformers = pytest.importorskip("transformers")

import torch  # noqa: E402

from disobey.diagnosis.diagnose import diagnose  # noqa: E402
from disobey.diagnosis.evidence.evidence import gather  # noqa: E402
from disobey.diagnosis.input.hub import load_model, load_rows, predict_named  # noqa: E402
from disobey.diagnosis.report.tables import closeness  # noqa: E402
from tests.support.refusals import refuses  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # third parties' own deprecations while loading
WORDS = [f"w{i}" for i in range(40)]


def _tokenizer(words=WORDS):
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    inner = Tokenizer(WordLevel({w: i for i, w in enumerate(["[PAD]", "[UNK]", *words])}, unk_token="[UNK]"))
    inner.pre_tokenizer = Whitespace()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]")


def _save(folder, model, processor):
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return f"hf:{folder}"


def _causal(folder, seed, words=WORDS):
    torch.manual_seed(seed)
    config = transformers.GPT2Config(
        vocab_size=42, n_embd=16, n_layer=1, n_head=2, n_positions=64, bos_token_id=0, eos_token_id=0
    )
    return _save(folder, transformers.GPT2LMHeadModel(config), _tokenizer(words))


def _classifier(folder, seed, names):
    torch.manual_seed(seed)
    config = transformers.DistilBertConfig(
        vocab_size=42,
        dim=16,
        hidden_dim=32,
        n_layers=1,
        n_heads=2,
        max_position_embeddings=64,
        id2label=dict(enumerate(names)),
        label2id={n: i for i, n in enumerate(names)},
    )
    return _save(folder, transformers.DistilBertForSequenceClassification(config), _tokenizer())


def _texts(path, rows=30):
    rng = np.random.default_rng(0)
    lines = [{"text": " ".join(rng.choice(WORDS, 8)), "label": "neg" if i % 2 else "pos"} for i in range(rows)]
    path.write_text("\n".join(map(json.dumps, lines)))
    return str(path)


def test_causal_models_give_the_top_k_of_every_token(tmp_path):
    teacher, student = _causal(tmp_path / "t", 0), _causal(tmp_path / "s", 1)
    data = _texts(tmp_path / "d.jsonl")
    pair = predict_named(teacher, student, data)
    assert pair.shape[0] == 30 * 7
    found = gather(pair)
    # 42 tokens, of which the 42 most likely are all: nothing is lost, and the divergence is exact
    np.testing.assert_allclose(found.sparse["teacher_mass"], 1, atol=1e-5)
    loaded = {name: load_model(str(tmp_path / name), name) for name in ("t", "s")}
    text = json.loads((tmp_path / "d.jsonl").read_text().splitlines()[0])["text"]
    ids = loaded["t"].processor(text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        p, q = (loaded[n].model.eval()(input_ids=ids).logits[0, :-1].log_softmax(-1) for n in ("t", "s"))
    kl = (p.exp() * (p - q)).sum(-1).numpy()
    from disobey.diagnosis.evidence.streaming import forward_and_reverse

    np.testing.assert_allclose(found.of(forward_and_reverse)[0][:7], kl, atol=1e-5)
    assert closeness(found).rows
    assert diagnose(pair).summary


def test_a_causal_twin_is_the_control(tmp_path):
    names = [_causal(tmp_path / str(seed), seed) for seed in range(3)]
    data = _texts(tmp_path / "d.jsonl")
    pair = predict_named(*names[:2], data, twin=names[2])
    alone = predict_named(names[0], names[2], data)
    np.testing.assert_array_equal(pair.topk.twin.array, alone.topk.student.array)
    np.testing.assert_array_equal(pair.topk.twin_top, alone.topk.student_top)
    named = {f.id: f for f in diagnose(pair).blocks if hasattr(f, "status")}
    assert len(named["distillation-visible"].evidence) == 2
    with refuses("different-tokenizers", "twin"):
        predict_named(*names[:2], data, twin=_causal(tmp_path / "other", 3, WORDS[::-1]))


def test_other_tokenizers_are_refused_by_content(tmp_path):
    teacher, student = _causal(tmp_path / "t", 0), _causal(tmp_path / "s", 1, WORDS[::-1])
    with refuses("different-tokenizers", "40 of", "42"):
        predict_named(teacher, student, _texts(tmp_path / "d.jsonl"))


def test_classes_are_put_in_the_teachers_order(tmp_path):
    teacher = _classifier(tmp_path / "t", 0, ["pos", "neg"])
    same = _classifier(tmp_path / "a", 1, ["pos", "neg"])
    swapped = _classifier(tmp_path / "b", 1, ["neg", "pos"])
    data = _texts(tmp_path / "d.jsonl")
    one, two = predict_named(teacher, same, data), predict_named(teacher, swapped, data)
    np.testing.assert_allclose(one.students["student"].array, two.students["student"].array[:, ::-1], atol=1e-6)
    assert one.class_names == ("pos", "neg")
    assert one.texts is not None
    odd = predict_named(teacher, _classifier(tmp_path / "c", 1, ["good", "bad"]), data)
    assert "good" in odd.facts["label_maps_differ"]
    assert any(f.id == "vocabulary" and f.status == "warning" for f in diagnose(odd).blocks if hasattr(f, "status"))


def test_labels_are_the_models_classes_by_name(tmp_path):
    models = [_classifier(tmp_path / str(seed), seed, ["sad", "glad", "mad"]) for seed in range(2)]
    few = tmp_path / "few.csv"  # one class does not occur, and the alphabet has another order than the model
    few.write_text("text,label\n" + "\n".join(f"w{i},{'sad' if i % 2 else 'Mad'}" for i in range(10)))
    np.testing.assert_array_equal(predict_named(*models, str(few)).labels, [2, 0] * 5)
    other = tmp_path / "other.csv"
    other.write_text("text,label\nw1,sad\nw2,gladd\n")
    with refuses("unknown-label", "sad, glad, mad", "'gladd' in row 1", "'glad'"):
        predict_named(*models, str(other))
    unnamed = [_classifier(tmp_path / f"u{seed}", seed, ["LABEL_0", "LABEL_1", "LABEL_2"]) for seed in range(2)]
    np.testing.assert_array_equal(predict_named(*unnamed, str(few)).labels, [0, 1] * 5)


def test_images_from_a_parquet_file(tmp_path):
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    rng = np.random.default_rng(0)
    rows = []
    for i in range(6):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(256, size=(16, 16, 3), dtype=np.uint8)).save(buffer, "PNG")
        rows.append({"img": {"bytes": buffer.getvalue(), "path": None}, "label": i % 3})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "d.parquet")
    names = []
    for seed in range(2):
        torch.manual_seed(seed)
        config = transformers.ViTConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            image_size=16,
            patch_size=8,
            num_labels=3,
        )
        processor = transformers.ViTImageProcessor(size={"height": 16, "width": 16})
        names.append(_save(tmp_path / str(seed), transformers.ViTForImageClassification(config), processor))
    try:
        pair = predict_named(*names, str(tmp_path / "d.parquet"))
    except ValueError as error:
        if "torchvision" in str(error).lower():
            pytest.skip("this version of transformers needs torchvision for images")
        raise
    assert pair.shape == (6, 3)
    np.testing.assert_array_equal(pair.labels, [0, 1, 2, 0, 1, 2])


def test_what_cannot_be_loaded_is_said(tmp_path):
    good = _classifier(tmp_path / "t", 0, ["pos", "neg"])
    causal = _causal(tmp_path / "c", 0)
    data = _texts(tmp_path / "d.jsonl")
    (tmp_path / "empty").mkdir()
    for teacher, student, examples, id in (
        (f"hf:{tmp_path / 'empty'}", good, data, "no-model-folder"),
        (good, causal, data, "different-tasks"),
        (good, good, str(tmp_path / "no.csv"), "no-file"),
        (good, good, str(tmp_path / "t" / "config.json"), "file-format"),
    ):
        with refuses(id):
            predict_named(teacher, student, examples)
    (tmp_path / "x.csv").write_text("words,label\na,1\n")
    with refuses("missing-column", "words"):
        load_rows(str(tmp_path / "x.csv"), "test", 10, "sequence")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_rows(data, "test", 4, "sequence").labels == [1, 0, 1, 0]
