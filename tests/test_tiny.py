"""The training recipe on a toy: every stage, a kill and a restart, seeds, bad arguments, two processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("accelerate")

from accelerate import Accelerator
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

from sdlesson import BadInput
from sdlesson.tiny import ablation, curves
from sdlesson.tiny import run as training_run
from sdlesson.tiny.__main__ import main
from sdlesson.tiny.data import CHUNK, Pictures, draw_example, draw_pictures
from sdlesson.tiny.export import export
from sdlesson.tiny.loop import Job, Progress, Trainer
from sdlesson.tiny.optimizer import MuonAdamW, orthogonalize
from sdlesson.tiny.settings import SMOKE
from sdlesson.tiny.tokenizer import END, START, byte_characters, clip_vocabulary
from sdlesson.tiny.vae import vae_job
from sdlesson.training import batch_generator, learning_share

SMOKE_RUN = ["--size-of-run", "smoke", "--cpu", "--mixed-precision", "no"]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """A run folder in which every stage has had its second."""
    folder = tmp_path_factory.mktemp("smoke") / "run"
    assert main([*SMOKE_RUN, "--minutes", "0.05", "--out", str(folder)]) == 0
    return folder


def test_pictures_depend_on_seed_and_index_alone(tmp_path):
    draw_pictures(tmp_path, 3, seed=5, size=64, workers=1)
    pictures = Pictures(tmp_path)
    picture, caption = draw_example(5, 2, 64)
    assert pictures.captions[2] == caption
    assert np.array_equal(pictures.pixels[2].numpy(), picture)
    assert not np.array_equal(draw_example(6, 2, 64)[0], picture)
    batch = pictures.batch([0, 2])
    assert batch.shape == (2, 3, 64, 64)
    assert batch.min() >= -1 and batch.max() <= 1


def test_vocabulary_has_clips_order(smoke):
    tokenizer = CLIPTokenizer.from_pretrained(smoke / "tokenizer")
    vocabulary = tokenizer.get_vocab()
    characters = byte_characters()
    assert len(set(characters)) == 256 and characters[:2] == ["!", '"']
    assert [vocabulary[c] for c in characters] == list(range(256))
    assert [vocabulary[c + "</w>"] for c in characters] == list(range(256, 512))
    assert vocabulary[START] == len(tokenizer) - 2 and vocabulary[END] == len(tokenizer) - 1
    assert vocabulary["a</w>"] == 320  # as in CLIP's own vocabulary
    assert clip_vocabulary([("a", "n</w>")])["an</w>"] == 512


def test_tokenizer_encodes_any_text(smoke):
    tokenizer = CLIPTokenizer.from_pretrained(smoke / "tokenizer")
    assert tokenizer.model_max_length == 77
    assert tokenizer.pad_token == END
    caption = "a photograph of an astronaut riding a horse"
    ids = tokenizer(caption.upper(), padding="max_length", truncation=True).input_ids
    assert len(ids) == 77 and ids[0] == tokenizer.bos_token_id and ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True).strip() == caption
    strange = "🐧 naïve 中文 \x00 №7"
    ids = tokenizer(strange).input_ids
    assert tokenizer.unk_token_id not in ids[1:-1]
    assert "🐧" in tokenizer.decode(ids, skip_special_tokens=True)
    assert len(tokenizer(caption * 30, truncation=True).input_ids) == 77


def test_smoke_run_makes_a_pipeline(smoke):
    checkpoint = smoke / "checkpoint"
    pipe = StableDiffusionPipeline.from_pretrained(checkpoint, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(1)
    picture = pipe("a cartoon of a beach", num_inference_steps=2, generator=generator, output_type="np").images[0]
    assert picture.shape == (64, 64, 3) and np.isfinite(picture).all()
    assert pipe.unet.dtype == torch.float32
    assert json.loads((checkpoint / "sdlesson.json").read_text())["size"] == 64
    assert len(json.loads((checkpoint / "training.json").read_text())["story"]) == 5
    assert not list(checkpoint.rglob("*.bin")) and not list(checkpoint.rglob("*.pt"))


def test_a_run_can_start_from_a_checkpoint(smoke, tmp_path, capsys):
    checkpoint, out = smoke / "checkpoint", tmp_path / "run"
    assert main([*SMOKE_RUN, "--seed", "1", "--minutes", "0.06", "--start", str(checkpoint), "--out", str(out)]) == 0
    for part in ("tokenizer/tokenizer.json", "text_encoder/model.safetensors", "clip/model.safetensors"):
        assert (out / "checkpoint" / part).read_bytes() == (checkpoint / part).read_bytes()
    old, new = (UNet2DConditionModel.from_pretrained(folder / "unet") for folder in (checkpoint, out / "checkpoint"))
    apart = max(float((a - b).abs().max()) for a, b in zip(old.parameters(), new.parameters(), strict=True))
    assert 0 < apart < 0.1  # trained on, not begun anew
    folders = (checkpoint, out, out / "checkpoint")
    factors = {AutoencoderKL.load_config(folder / "vae")["scaling_factor"] for folder in folders}
    assert len(factors) == 1  # although it was measured on other pictures
    training = json.loads((out / "checkpoint" / "training.json").read_text())
    assert len(training["story"]) == 8
    assert "with seed 1" in training["story"][5] and "trained on" in training["story"][6]
    first, second = training["command"].split(" && ")
    assert first == json.loads((checkpoint / "training.json").read_text())["command"]
    assert "--size-of-run smoke --start runs/tiny/checkpoint --out runs/tiny-on --unet-minutes" in second
    assert main([*SMOKE_RUN, "--start", str(tmp_path), "--out", str(tmp_path / "other")]) == 2
    assert "cannot be started from: it has no tokenizer" in capsys.readouterr().err


def test_a_unet_of_another_autoencoder_is_not_exported_with_this_one(smoke, tmp_path, capsys):
    out = tmp_path / "run"
    shutil.copytree(smoke, out)
    longer = [*SMOKE_RUN, "--minutes", "0.06", "--vae-minutes", "0.2", "--out", str(out)]
    assert main([*longer, "--stages", "vae,unet,export"]) == 2
    assert "latents.npy, which is not there; run the earlier stages first" in capsys.readouterr().err
    assert main(longer) == 2
    assert "belongs to another text encoder or autoencoder" in capsys.readouterr().err
    (out / "unet.checkpoint.pt").unlink()
    assert main(longer) == 0 and main(longer) == 0


def test_help_is_printed(capsys):
    with pytest.raises(SystemExit) as done:
        main(["--help"])
    assert done.value.code == 0 and "instead of its share: 44%" in capsys.readouterr().out


def test_text_encoder_is_the_clip_pairs_text_tower(smoke):
    text = CLIPTextModel.from_pretrained(smoke / "checkpoint" / "text_encoder")
    clip = CLIPModel.from_pretrained(smoke / "checkpoint" / "clip")
    assert text.dtype == torch.float32
    assert text.config.eos_token_id == clip.config.text_config.eos_token_id == text.config.vocab_size - 1
    theirs = clip.text_model.state_dict()
    for name, weight in text.state_dict().items():
        assert torch.equal(weight, theirs[name]), name


def test_latents_have_unit_variance_after_scaling(smoke):
    config = json.loads((smoke / "vae" / "config.json").read_text())
    latents = np.load(smoke / "latents.npy").astype(np.float32)
    assert latents.shape == (SMOKE.pictures, 4, 8, 8)
    assert latents.std() * config["scaling_factor"] == pytest.approx(1, abs=0.01)


def test_sheets_and_curves_are_there(smoke):
    for stage in ("clip", "vae", "unet"):
        assert list((smoke / "sheets").glob(f"{stage}-*.png")), stage
        assert (smoke / f"{stage}-loss.png").stat().st_size > 1000


def test_an_export_does_not_say_in_which_folder_it_was_made(smoke):
    texts = [path.read_text("utf-8") for path in (smoke / "checkpoint").rglob("*.json")]
    assert len(texts) > 5 and not any(str(smoke) in text for text in texts)


def test_export_keeps_what_others_wrote(smoke, tmp_path):
    target = tmp_path / "checkpoint"
    (target / "classifier").mkdir(parents=True)
    (target / "classifier" / "weights").write_text("w")
    (target / "README.md").write_text("card")
    export(smoke, target)
    assert (target / "README.md").read_text() == "card"
    assert (target / "classifier" / "weights").read_text() == "w"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint"]


def others_model(folder):
    """A folder with somebody else's model, as far as names count."""
    for name in ("model_index.json", "sdlesson.json", "tokenizer/vocab.json", "unet/config.json", "vae/thesis.tex"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return folder


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(arguments, words, home, capsys):
    """The command says one sentence with `words` in it, and changes nothing in the folder `home`."""
    before, names = contents(home), sorted(home.rglob("*"))
    capsys.readouterr()
    assert main([*SMOKE_RUN, *map(str, arguments)]) == 2
    said = capsys.readouterr().err
    assert words in said and said.startswith("sdlesson.tiny: ") and said.count("\n") == 1
    assert contents(home) == before and sorted(home.rglob("*")) == names


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("models", "models holds what no training has made (gpt)"),
        ("foreign", "foreign holds what no training has made (model_index.json)"),
        ("half", "half holds what no training has made"),
        ("log", "log holds what no training has made (checkpoint-500)"),
        ("thesis.tex", "thesis.tex is no folder but a file"),
        ("link", "link is no folder but a file"),
        ("thesis.tex/model", "cannot be written"),
        ("run", "belongs to the run itself"),
        (".", "belongs to the run itself"),
        ("run/unet", "belongs to the run itself"),
        ("x" * 300, "too long"),
    ],
)
def test_export_replaces_nothing_that_no_training_made(tmp_path, monkeypatch, capsys, name, words):
    monkeypatch.chdir(tmp_path)
    others_model(tmp_path / "models" / "gpt")
    others_model(tmp_path / "foreign")
    (others_model(tmp_path / "half") / "training.json").write_text("{}")
    (tmp_path / "log" / "checkpoint-500").mkdir(parents=True)
    (tmp_path / "log" / "training.json").write_text('{"story": ["of another program"]}')
    (tmp_path / "thesis.tex").write_text("chapter 1")
    (tmp_path / "link").symlink_to("thesis.tex")
    refused(["--stages", "export", "--checkpoint", name, "--out", "run"], words, tmp_path, capsys)
    if words.startswith(name):
        with pytest.raises(BadInput, match="holds what no training|is no folder"):
            export(tmp_path / "run", tmp_path / name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model", "model holds what no training has made (model_index.json)"),
        ("notes", "notes holds what no training has made (a.txt)"),
        ("thesis.tex", "thesis.tex is no folder but a file"),
        ("editor", "was made with other settings"),
        ("list", "settings.json is damaged"),
        ("cut", "settings.json is damaged"),
        ("bytes", "settings.json is damaged"),
        ("x" * 300, "File name too long"),
        ("thesis.tex/run", "Not a directory"),
    ],
)
def test_a_run_begins_in_no_folder_of_others(tmp_path, monkeypatch, capsys, name, words):
    monkeypatch.chdir(tmp_path)
    others_model(tmp_path / "model")
    for folder, file, text in (
        ("notes", "a.txt", b"a"),
        ("editor", "settings.json", b'{"tabSize": 4}'),
        ("list", "settings.json", b"[1]"),
        ("cut", "settings.json", b'{"seed": 0, "batch'),
        ("bytes", "settings.json", b"\xff\xfe{"),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_bytes(text)
    (tmp_path / "thesis.tex").write_text("chapter 1")
    refused(["--out", name, "--stages", "pictures"], words, tmp_path, capsys)


def test_a_new_export_keeps_what_others_put_into_an_older_one(smoke, tmp_path):
    target = tmp_path / "checkpoint"
    export(smoke, target)
    (target / "notes").mkdir()
    (target / "notes" / "a.txt").write_text("mine")
    (target / "link").symlink_to("nowhere")
    (target / "unet" / "config.json").write_text("{")
    (target / "README.md").write_text("card")
    export(smoke, target)
    assert (target / "notes" / "a.txt").read_text() == "mine" and (target / "README.md").read_text() == "card"
    assert os.readlink(target / "link") == "nowhere"
    assert json.loads((target / "unet" / "config.json").read_text())["_class_name"] == "UNet2DConditionModel"


@pytest.mark.parametrize("rename", [1, 2, 3])
def test_an_export_killed_between_its_renames_is_put_right(smoke, tmp_path, monkeypatch, rename):
    target, real, calls = tmp_path / "checkpoint", os.replace, []
    export(smoke, target)
    (target / "README.md").write_text("card")

    def killed(old, new):
        calls.append(new)
        if len(calls) >= rename:
            raise SystemExit
        real(old, new)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(SystemExit):  # nor can the one who is killed tidy up: each further rename fails, too
        export(smoke, target)
    monkeypatch.undo()
    assert target.exists() == (rename != 2)
    export(smoke, target)
    assert (target / "README.md").read_text() == "card" and (target / "training.json").exists()
    assert os.listdir(tmp_path) == ["checkpoint"]


def test_a_run_puts_its_folders_right_before_it_goes_on(smoke, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(smoke, run)
    whole = contents(run)
    os.replace(run / "tokenizer", run / ".tokenizer.sdlesson-old")  # as between the renames
    shutil.copytree(smoke / "tokenizer", run / ".tokenizer.sdlesson-part")
    os.replace(run / "clip", run / ".clip.sdlesson-part")
    shutil.copytree(smoke / "clip", run / "clip")
    assert main([*SMOKE_RUN, "--out", str(run), "--stages", "pictures"]) == 0
    assert contents(run) == whole and not [path for path in run.iterdir() if path.name.startswith(".")]


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on the size of files")
@pytest.mark.parametrize(
    ("stage", "limit", "product"),
    [
        ("pictures", 20_000, "pictures/pictures-000.npy"),
        ("tokenizer", 3_000, "tokenizer"),
        ("latents", 3_000, "latents.npy"),
        ("latents", 60_000, "latents.npy"),
        ("export", 10_000, "checkpoint"),
        ("export", 500, "checkpoint"),
    ],
)
def test_a_full_disk_is_a_sentence(smoke, tmp_path, capsys, stage, limit, product):
    import resource

    run = tmp_path / "run"
    shutil.copytree(smoke, run)
    (shutil.rmtree if (run / product).is_dir() else os.unlink)(run / product)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        assert main([*SMOKE_RUN, "--out", str(run), "--stages", stage]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sdlesson.tiny: ")]
    assert len(said) == 1 and "cannot be written" in said[0]
    assert not (run / product).exists() and not list(run.rglob(".*"))


def test_finished_stages_are_not_run_again(smoke):
    before = {path: path.stat().st_mtime_ns for path in smoke.rglob("*.safetensors") if "checkpoint" not in path.parts}
    assert (
        main([*SMOKE_RUN, "--minutes", "0.05", "--out", str(smoke), "--stages", "pictures,tokenizer,clip,vae,unet"])
        == 0
    )
    assert before == {path: path.stat().st_mtime_ns for path in before}


def toy_job(seconds: float, log: list | None = None) -> Job:
    """A 4 → 4 linear map that should become the identity."""
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))

    class Objective(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = layers

        def forward(self, x):
            loss = (self.layers(x) - x).square().mean()
            if log is not None:
                log.append(loss.item())
            return loss

    return Job(
        name="toy",
        objective=Objective(),
        batch=lambda generator: (torch.randn(16, 4, generator=generator),),
        batch_size=16,
        seconds=seconds,
        save=lambda: None,
        sheet=lambda path: None,
    )


def test_a_seed_fixes_the_losses(tmp_path):
    first, again, other = [], [], []
    for log, seed, name in ((first, 0, "a"), (again, 0, "b"), (other, 1, "c")):
        (tmp_path / name).mkdir()
        Trainer(toy_job(0.2, log), tmp_path / name, Accelerator(cpu=True), seed=seed).run()
    assert first[0] == again[0] != other[0]


def test_restart_goes_on_with_weights_steps_and_time(tmp_path):
    accelerator = Accelerator(cpu=True)
    first = Trainer(toy_job(0.2), tmp_path, accelerator, seed=0)
    progress = first.run()
    second = Trainer(toy_job(0.4), tmp_path, accelerator, seed=0)
    assert second.progress.step == progress.step
    assert second.progress.elapsed == progress.elapsed
    for mine, theirs in zip(second.optimizer.parameters, first.optimizer.parameters, strict=True):
        assert torch.equal(mine, theirs)
    for mine, theirs in zip(second.averages, first.averages, strict=True):
        assert torch.equal(mine, theirs)
    assert second.run().step > progress.step


@pytest.mark.parametrize("seconds", [0.2, 0.1])
def test_a_job_killed_before_its_last_save_saves_when_it_is_started_again(tmp_path, seconds):
    def trainer(seconds):
        job = toy_job(seconds)
        job.save = lambda: saved.append(job.name)
        return Trainer(job, tmp_path, Accelerator(cpu=True), seed=0)

    saved = []
    killed = trainer(0.2)
    killed._publish = lambda: killed._checkpoint() or sys.exit(9)  # the time is used up, and nothing is saved
    with pytest.raises(SystemExit):
        killed.run()
    again = trainer(seconds)
    assert again.progress.elapsed >= 0.2 and not again.progress.published
    step = again.progress.step
    assert again.run().step == step and saved == ["toy"] and (tmp_path / "toy-loss.png").exists()
    assert trainer(seconds).run().step == step and saved == ["toy"]
    assert trainer(0.4).run().step > step and saved == ["toy", "toy"]


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", "cut", b"PK\x03\x04"])
def test_a_damaged_checkpoint_is_a_sentence(tmp_path, damage):
    Trainer(toy_job(0.1), tmp_path, Accelerator(cpu=True), seed=0).run()
    file = tmp_path / "toy.checkpoint.pt"
    file.write_bytes(file.read_bytes()[:-500] if damage == "cut" else damage)
    with pytest.raises(BadInput, match=r"toy\.checkpoint\.pt cannot be read; delete it"):
        Trainer(toy_job(0.1), tmp_path, Accelerator(cpu=True), seed=0)


def test_a_killed_run_goes_on(tmp_path):
    """Kill the trainer in the middle of a stage, twice, and look at the steps that its checkpoint counts."""
    code = (
        "import sdlesson.tiny.loop as loop; loop.CHECKPOINT_EVERY = 0.2\n"
        "import sys; from sdlesson.tiny.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [
        sys.executable,
        "-c",
        code,
        *SMOKE_RUN,
        "--minutes",
        "10",
        "--clip-minutes",
        "0.01",
        "--stages",
        "pictures,tokenizer,clip,vae",
        "--out",
        str(tmp_path),
    ]
    file, counts = tmp_path / "vae.checkpoint.pt", []
    for _ in range(2):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
        seen = file.stat().st_mtime_ns if file.exists() else 0
        deadline = time.monotonic() + 90
        while not (file.exists() and file.stat().st_mtime_ns > seen):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        counts.append(torch.load(file, weights_only=True)["progress"]["step"])
    assert counts[1] > counts[0] > 0


@pytest.mark.full
def test_two_processes_share_a_run(smoke, tmp_path):
    """`accelerate launch` on two CPU processes trains, agrees on the end and writes one network.

    `--multi_gpu` means several processes, whatever they run on; `--cpu` before `-m` would make it one process.
    """
    launch = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--main_process_port", "0"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    ours = [*SMOKE_RUN, "--minutes", "0.05", "--stages", "pictures,tokenizer,clip,vae", "--out", str(tmp_path)]
    command = [sys.executable, "-m", "accelerate.commands.launch", *launch, "-m", "sdlesson.tiny", *ours]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    progress = torch.load(tmp_path / "vae.checkpoint.pt", weights_only=True)["progress"]
    assert progress["processes"] == 2 and progress["step"] > 0
    assert (tmp_path / "vae" / "diffusion_pytorch_model.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--minutes", "0"], "minutes"),
        (["--minutes", "nan"], "minutes"),
        (["--stages", "vae,voodoo"], "voodoo"),
        (["--batch-factor", "0"], "batch-factor"),
        (["--seed", "-1"], "seed"),
        (["--seed", "4294967296"], "from 0 to 4294967295"),
        (["--seed", str(10**30)], "from 0 to 4294967295"),
        (["--minutes", "1e308"], "minutes"),
        (["--unet-minutes", "inf"], "minutes"),
        (["--vae-minutes", "525601"], "up to 525600 (a year)"),
        (["--pictures", "0"], "pictures"),
    ],
)
def test_bad_arguments_get_a_sentence(arguments, words, capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--out", str(tmp_path)])
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_missing_input_gets_a_sentence(tmp_path, capsys):
    assert main([*SMOKE_RUN, "--stages", "unet", "--out", str(tmp_path / "new")]) == 2
    error = capsys.readouterr().err
    assert "clip" in error and "Traceback" not in error


def test_other_settings_are_refused(smoke, capsys):
    assert main([*SMOKE_RUN, "--seed", "3", "--stages", "tokenizer", "--out", str(smoke)]) == 2
    assert "seed" in capsys.readouterr().err


def test_a_run_that_began_elsewhere_does_not_go_on_from_a_checkpoint(smoke, capsys):
    """It would have joined its own UNet to that checkpoint's other parts."""
    assert main([*SMOKE_RUN, "--start", str(smoke / "checkpoint"), "--out", str(smoke)]) == 2
    assert "other settings (start)" in capsys.readouterr().err


def test_the_first_pictures_are_always_the_same(tmp_path):
    for number in range(3):
        np.save(tmp_path / f"pictures-{number:03}.npy", np.full((CHUNK, 1, 1, 3), number, np.uint8))
        (tmp_path / f"captions-{number:03}.json").write_text(json.dumps(["a"] * CHUNK))
    assert len(Pictures(tmp_path, most=2 * CHUNK)) == 2 * CHUNK and len(Pictures(tmp_path)) == 3 * CHUNK


def test_every_stage_has_a_runner():
    assert set(training_run.STAGES) == set(training_run.RUNNERS)
    assert sum(share for share, _ in training_run.STAGES.values()) == pytest.approx(1)


go_on = threading.Event()


def slow_drawing(folder, count, seed, size):
    folder.mkdir(parents=True)
    for number in range(2):
        (folder / f"pictures-{number:03}.npy").touch()
    assert go_on.wait(60)
    (folder / "pictures-002.npy").touch()
    (folder / "done").touch()


def failed_drawing(folder, count, seed, size):
    raise OSError("no space left on device")


def test_training_begins_while_pictures_are_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(training_run, "draw_pictures", slow_drawing)
    go_on.clear()
    settings = replace(SMOKE, pictures=3000, first_pictures=1500)
    run = training_run.Run(tmp_path, settings, 0, Accelerator(cpu=True), {})
    training_run.run_stage(run, "pictures")
    files = [(tmp_path / "pictures" / f"pictures-{number:03}.npy").exists() for number in range(3)]
    assert files == [True, True, False] and not (tmp_path / "pictures" / "done").exists()
    go_on.set()
    training_run.wait_for_pictures(run)
    assert (tmp_path / "pictures" / "done").exists()


def test_drawing_that_fails_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(training_run, "draw_pictures", failed_drawing)
    run = training_run.Run(tmp_path, SMOKE, 0, Accelerator(cpu=True), {})
    with pytest.raises(OSError, match="no space left"):
        training_run.run_stage(run, "pictures")


def test_learning_rate_rises_and_falls():
    shares = [learning_share(used) for used in (0.0, 0.005, 0.02, 0.5, 0.99, 1.0)]
    assert 0 < shares[0] < shares[1] < shares[2] > shares[3] > shares[4] > shares[5] == 0


def test_batches_differ_by_step_and_process():
    draws = {
        torch.rand((), generator=batch_generator(*key)).item() for key in ((0, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 0))
    }
    assert len(draws) == 4


def test_orthogonalize_levels_singular_values():
    for shape in ((2, 8, 20), (2, 20, 8)):
        matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        values = torch.linalg.svdvals(orthogonalize(matrices))
        assert values.min() > 0.5 and values.max() < 1.5


def test_optimizer_splits_matrices_from_edges():
    module = torch.nn.Sequential()
    module.add_module("inner", torch.nn.Conv2d(4, 8, 3))
    module.add_module("edge", torch.nn.Conv2d(8, 4, 3))
    optimizer = MuonAdamW(module, ("edge",), 1e-3, 1e-3)
    ((matrices, memory),) = optimizer.muon.groups
    assert matrices[0] is module.inner.weight and memory.shape == (1, 8, 36)
    before = [p.detach().clone() for p in module.parameters()]
    module(torch.randn(2, 4, 9, 9)).square().mean().backward()
    optimizer.step(1.0)
    assert all(not torch.equal(old, new) for old, new in zip(before, module.parameters(), strict=True))


def test_slow_edges_learn_at_a_tenth():
    module = torch.nn.Sequential()
    for name in ("quick", "calm"):
        module.add_module(name, torch.nn.Conv2d(1, 1, 1, bias=False))
        module.get_submodule(name).weight.data.fill_(1.0)
    optimizer = MuonAdamW(module, ("quick", "calm"), 1e-3, 1e-2, slow=("calm",))
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step(1.0)
    quick, calm = (1 - parameter.item() for parameter in module.parameters())
    assert calm == pytest.approx(quick / 10, rel=0.02) and quick == pytest.approx(1e-2, rel=0.05)


def test_optimizer_learns():
    job = toy_job(1.0)
    optimizer = MuonAdamW(job.objective, (), 3e-2, 3e-2)
    losses = []
    for step in range(150):
        loss = job.objective(*job.batch(batch_generator(0, step, 0)))
        loss.backward()
        optimizer.step(1 - step / 150)
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_curves_of_two_runs_lie_over_each_other(smoke, tmp_path, monkeypatch):
    plotted = []
    monkeypatch.setattr(curves, "_plot", lambda lines, *rest: plotted.append(lines))
    history = [(step, 1.0, step) for step in range(1, 6)] + [(20 * k, 60.0 * k, 10.0 + k) for k in range(1, 13)]
    curves.plot_runs({"long": history, "short": history[:11]}, "unet", tmp_path / "a.png")
    assert {name: points.tolist() for name, points in plotted[0].items()} == {
        "long": [[60, 13], [160, 18]],
        "short": [[60, 13]],
    }
    monkeypatch.undo()
    monkeypatch.setattr(
        sys, "argv", ["curves", str(smoke), str(smoke), "--stage", "clip", "--out", str(tmp_path / "b.png")]
    )
    curves.main()
    assert Image.open(tmp_path / "b.png").size == (660, 352)


def test_an_ablation_trains_the_runs_own_autoencoder_on_at_a_tenth(smoke, tmp_path, monkeypatch):
    run, jobs = shutil.copytree(smoke, tmp_path / "run"), []
    monkeypatch.setattr(ablation, "Trainer", lambda job, *_, **__: jobs.append(job) or SimpleNamespace(run=Progress))
    monkeypatch.setattr(ablation, "fast_in_bfloat16", lambda device: False)  # as the run was made
    ablation.train_without(run, "kl", minutes=1, batch_size=2)
    given = AutoencoderKL.from_pretrained(run / "vae").state_dict()
    assert all(torch.equal(value, given[name]) for name, value in jobs[0].objective.vae.state_dict().items())
    fresh = vae_job(run, SMOKE, Accelerator(cpu=True), 60, 2)
    assert (jobs[0].muon_rate, jobs[0].adam_rate) == (0.1 * fresh.muon_rate, 0.1 * fresh.adam_rate)
    assert jobs[0].objective.terms == fresh.objective.terms - {"kl"}
