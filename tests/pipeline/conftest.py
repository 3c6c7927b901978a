"""A temporary DVC repository with the checkout's files, two sources and a tiny random model."""

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryFile

import pytest
from filelock import FileLock
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
KEPT = ("mt", "aya")
ORDINARY = 300
"""Everyday conversations: a threshold at a false positive rate of 1 % needs 299."""
TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


class Repository:
    """A DVC repository in a folder of its own."""

    def __init__(self, path, environment):
        self.path, self.environment = path, environment

    def run(self, *command, check=True):
        with TemporaryFile("w+") as out, TemporaryFile("w+") as err:  # a queue's workers would hold pipes open
            done = subprocess.run(
                command, cwd=self.path, env=self.environment, stdout=out, stderr=err, stdin=subprocess.DEVNULL
            )
            for stream in (out, err):
                stream.seek(0)
            done.stdout, done.stderr = out.read(), err.read()
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def dvc(self, *arguments, check=True):
        return self.run("python", "-m", "dvc", *arguments, check=check)

    def mup(self, *arguments, check=True):
        return self.run("python", "-m", "models_under_pressure", *arguments, check=check)

    def commit(self, message):
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", message)

    def restore(self):
        """Bring files back to the last commit, and data with them if it had other."""
        changed = self.run("git", "status", "--porcelain").stdout
        self.run("git", "checkout", "-q", ".")
        self.run("git", "clean", "-fdq")
        if "dvc.lock" in changed:
            self.dvc("checkout")

    def edit(self, name, change):
        """Change a YAML file with a function of its content."""
        yaml = YAML()
        content = yaml.load(self.path / name)
        change(content)
        yaml.dump(content, self.path / name)

    def stages_run(self, output):
        """Names of the stages that a `dvc repro` ran, not those it took from the run cache."""
        lines = [line for line in output.splitlines() if line.startswith("Running stage")]
        return {line.split("'")[1] for line in lines}


def make_repository(path, environment):
    """The checkout without its results."""
    path.mkdir(parents=True)
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in listed.splitlines():
        if (ROOT / name).is_file() and not name.startswith(("tests/", "metrics/", "plots/")) and "dvc.lock" not in name:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, path / name)
    return Repository(path, environment)


def environment_of(tmp, path):
    """Variables of commands whose caches and ledger are below a folder."""
    return {
        **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        "PYTHONPATH": "src",
        "PATH": path,
        "DVC_SITE_CACHE_DIR": str(tmp / "site"),
        "MUP_LEDGER": str(tmp / "ledger.sqlite"),
        "MUP_STORES": str(tmp / "stores"),
        "MUP_PROCESSES": "1",
        "GIT_AUTHOR_NAME": "t",
        "GIT_AUTHOR_EMAIL": "t@t",
        "GIT_COMMITTER_NAME": "t",
        "GIT_COMMITTER_EMAIL": "t@t",
    }


def save_tiny_model(path):
    """A Llama of two blocks with random weights, and a tokenizer of bytes with a chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = pre_tokenizers.ByteLevel.alphabet()
    vocabulary = {token: n for n, token in enumerate(["<s>", "</s>", *sorted(alphabet)])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(path)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=4096,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(path)


def shrink(repository, model):
    """Two sources and a probe-sized model: what the graph does, in a minute; no line of a graph is touched."""
    control = repository.path / "data/demo/control/control.jsonl"
    control.write_text("".join(control.read_text("utf-8").splitlines(keepends=True)[:ORDINARY]), "utf-8")

    def lineage(content):
        for name in [name for name in content["sources"] if name not in KEPT]:
            del content["sources"][name]
        for name in [name for name in content["versions"] if name.rsplit("_", 2)[0] not in KEPT]:
            del content["versions"][name]
        for purpose in ("dev", "test"):
            own = content["datasets"][purpose]
            for name in [name for name in own if name.removesuffix(f"_{purpose}") not in KEPT]:
                del own[name]

    def params(content):
        content["models"]["toy"] = str(model)
        content["model"]["name"] = "toy"
        content["probe"]["layer"] = 1
        content["extract"]["max_tokens"] = 256
        content["evaluate"]["resamples"] = 100
        content["plot"]["closely"] = ["attention"]
        content["synthesise"]["situations"] = 12
        content["text_baseline"]["control_seeds"] = 1
        content["train"]["probes"]["attention"] |= {"epochs": 2, "patience": 1}

    repository.edit("data/versions.yaml", lineage)
    repository.edit("params.yaml", params)
    repository.edit("experiments/params.yaml", shrink_experiments)


def shrink_experiments(params):
    """The tiny model, two families, few epochs, one repeat."""
    finetuned = params["finetune_baseline"]["models"]["smollm2"]
    finetuned.update({"model": "toy", "blocks": None, "trained_blocks": 1, "epochs": 1, "max_tokens": 64})
    params["prompt_baseline"]["models"]["smollm2"] |= {"name": "toy", "max_tokens": 512}
    attention = {"family": "attention", "epochs": 2}
    params["compare_probes"] |= {"seeds": 1, "probes": {"attention": attention, "mean": {"family": "mean_logistic"}}}
    params["choose_layer"] |= {"layers": [1, 2], "folds": 2}
    first = "probe_then_finetuned"
    params["cascade"] |= {"pairs": {first: params["cascade"]["pairs"][first]}, "shares": [0.0, 0.5, 1.0]}
    params["measure_calibration"]["monitors"] = ["attention", "prompted_smollm2"]
    params["train_on_dev"] |= {"sizes": [2, 4], "repeats": 2, "epochs": 2, "probe": attention}
    params["measure_data_efficiency"] |= {"sizes": [4], "repeats": 1, "probes": {"attention": attention}}
    params["measure_finetuning"] |= {"sizes": [4], "repeats": 1}
    params["measure_generalisation"] |= {"attributes": ["tone"], "probe": attention}
    few = {"records": 2, "padding": {"before": [1]}, "wrappings": ["upper_case", "paraphrase"], "shuffles": 2}
    params["measure_robustness"] |= few | {"probes": {"max": {"family": "max", "epochs": 2}}}


@pytest.fixture(scope="session")
def finished(tmp_path_factory, worker_id, warm_path):
    """The repository after its first `dvc repro`, committed: made once, then copied to each worker."""
    tmp = tmp_path_factory.getbasetemp()
    shared = tmp if worker_id == "master" else tmp.parent
    original = shared / "pipeline"
    with FileLock(shared / "pipeline.lock"):
        if not (original / "finished").exists():
            save_tiny_model(original / "model")
            repository = make_repository(original / "a project", environment_of(original, warm_path))
            shrink(repository, original / "model")
            repository.run("git", "init", "-q", "-b", "main")
            repository.commit("start")
            repository.dvc("repro", "-P")
            repository.commit("results")
            (original / "finished").touch()
    own = tmp / "own"
    shutil.copytree(original / "a project", own / "a project", symlinks=True)
    return Repository(own / "a project", environment_of(own, warm_path) | {"MUP_STORES": str(original / "stores")})


@pytest.fixture
def pipeline(finished):
    """The finished repository, for a test that may change it."""
    yield finished
    finished.restore()
