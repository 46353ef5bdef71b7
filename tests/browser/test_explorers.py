"""A real JupyterLab in a real Chromium: every explorer is turned by keyboard and mouse, and says what it shows."""

import re

import pytest

expect = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed").expect
expect.set_options(timeout=60_000)  # milliseconds: other tests may run beside this one

TYPED = '<script>window.broken = true</script><img src=x onerror="window.broken = true">'


def slider(explorer, label):
    return explorer.get_by_role("slider", name=label, exact=True)


def test_a_lesson_runs_from_top_to_bottom(lesson):
    assert lesson.locator(".jp-CodeCell").count() > 20
    assert lesson.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0
    assert lesson.complaints == []


def test_what_a_learner_types_is_shown_and_not_run(lesson):
    explorer = lesson.locator(".sdlesson-explorer")
    explorer.get_by_label("prompt", exact=True).fill(TYPED)
    expect(explorer.get_by_role("listitem").nth(1)).to_contain_text("<</w>")  # the first piece, shown as it is
    explorer.get_by_label("prompt", exact=True).fill("horse " * 90 + TYPED)
    expect(explorer).to_contain_text("77 of 77 places are used")
    expect(explorer).to_contain_text("Cut off: “horse horse")
    expect(explorer).to_contain_text("<script>window.broken = true</script>")
    assert lesson.evaluate("window.broken") is None and explorer.locator("script, img").count() == 0
    assert lesson.complaints == []


def test_prompts_are_compared(explorers):
    tokens = explorers.named["tokens"]
    tokens.get_by_label("compare with").fill("an astronaut riding a horse")
    expect(tokens).to_contain_text("end tokens: 1.000")


def test_steps_are_walked_by_keyboard(explorers):
    steps = explorers.named["steps"]
    expect(steps).to_contain_text("step 0, of 0 to 3: timestep 999.00, σ 14.61")
    slider(steps, "step").focus()
    explorers.keyboard.press("ArrowRight")
    expect(steps).to_contain_text("step 1, of 0 to 3")
    explorers.keyboard.press("End")
    expect(steps).to_contain_text("step 3, of 0 to 3")
    expect(steps.get_by_alt_text("predicted noise, channel 0")).to_be_visible()
    steps.get_by_label("channel").select_option("2")
    expect(steps.get_by_alt_text("predicted noise, channel 2")).to_be_visible()


def test_steps_play_to_the_end(explorers):
    steps = explorers.named["steps"]
    slider(steps, "step").press("Home")
    expect(steps).to_contain_text("step 0, of 0 to 3")
    steps.get_by_role("button", name="Play").click()
    expect(steps).to_contain_text("step 3, of 0 to 3")
    expect(steps.get_by_role("button", name="Play")).to_be_visible()


def test_sigmas_follow_steps_schedule_and_order(explorers):
    sigmas = explorers.named["sigmas"]
    slider(sigmas, "steps").fill("0")  # the first place: 2 steps
    expect(sigmas.get_by_alt_text("Noise levels of 2 steps")).to_be_visible()
    slider(sigmas, "steps").fill("18")
    sigmas.get_by_label("schedule").select_option("linear")
    expect(sigmas).to_contain_text("noise levels, linear")
    slider(sigmas, "order of K-LMS").focus()
    explorers.keyboard.press("Home")
    expect(sigmas).to_contain_text("Its weights, newest slope first: +1.00.")
    assert sigmas.locator("svg").count() == 2


def test_another_guidance_is_painted(explorers):
    guidance = explorers.named["guidance"]
    guidance.get_by_label("another guidance").fill("7")
    guidance.get_by_label("another guidance").press("Tab")
    guidance.get_by_role("button", name="Paint").click()
    expect(guidance.get_by_alt_text(re.compile("guidance 7, seed 1$"))).to_be_visible()
    slider(guidance, "guidance").focus()
    explorers.keyboard.press("Home")
    expect(guidance).to_contain_text("Seed 1 is painted at guidance 7.")
    slider(guidance, "seed").press("End")
    expect(guidance.get_by_alt_text(re.compile("guidance 1, seed 42$"))).to_be_visible()


def test_words_are_chosen_and_an_empty_choice_gets_a_sentence(explorers):
    attention = explorers.named["attention"]
    expect(attention.get_by_alt_text("Heat of horse at step 2")).to_be_visible()
    attention.get_by_label("words").select_option(["riding", "horse"])
    expect(attention.get_by_alt_text("Heat of riding, horse at step 2")).to_be_visible()
    attention.get_by_label("layers").select_option("4 × 4")
    expect(attention.get_by_alt_text("4 × 4 squares")).to_be_visible()
    attention.get_by_label("words").select_option([])
    expect(attention.locator("p[role=status]")).to_have_text("Choose at least one word.")


def test_a_skip_is_cut_and_the_maps_of_a_stage_are_seen(explorers):
    unet = explorers.named["unet"]
    expect(unet).to_contain_text("up_blocks.1, step 2 of 0 to 3, all skips whole")
    unet.get_by_label("cut the skip").select_option("all")
    expect(unet.get_by_alt_text("What the UNet expects at step 2, without the 6 skips")).to_be_visible()
    unet.get_by_label("stage").select_option("mid_block")
    slider(unet, "step").press("Home")
    expect(unet).to_contain_text("mid_block, step 0 of 0 to 3, without the 6 skips: maps of 4 by 4 numbers")
    assert unet.locator("img").count() == 9


def test_a_run_is_stopped(explorers):
    two = explorers.named["two prompts"]
    two.get_by_label("second prompt").fill(TYPED)
    two.get_by_role("button", name="Paint").click()
    two.get_by_role("button", name="Stop").click()
    expect(two.locator("p[role=status]")).to_contain_text("Stopped after")
    expect(two).to_contain_text("Press Paint.")


def test_two_prompts_are_painted(explorers):
    two = explorers.named["two prompts"]
    two.get_by_role("button", name="Paint").click()
    expect(two).to_contain_text("Step 19: 100% as far apart")
    slider(two, "step").press("Home")
    expect(two).to_contain_text("Step 0:")
    expect(two).to_contain_text(TYPED)
    assert two.locator("img").count() == 2 and explorers.evaluate("window.broken") is None


def test_nothing_in_the_way_of_screen_readers(explorers):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    found = axe.run(explorers, context=".sdlesson-explorer").response["violations"]
    assert [(each["id"], each["impact"], each["nodes"][0]["html"]) for each in found] == []


def test_the_console_has_no_complaint(explorers):
    assert explorers.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0
    assert explorers.complaints == []
