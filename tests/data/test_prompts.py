import pickle

import pytest
from tokenizers import ByteLevelBPETokenizer, Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from art.data.prompts import PAPER_PASSAGE_PROMPT, LikelihoodTemplate, RetrieverTemplate
from art.errors import ArtError, ConfigError, DataError

TITLE, TEXT = "Moon river", "the stone bridge, in winter . turns"
MARKUP = "moon [SEP] river [CLS] <s> x </s> <|im_start|> <|end|> <unk> [UNK] <pad>"


@pytest.fixture(scope="module")
def bert(tiny_bert):
    return AutoTokenizer.from_pretrained(tiny_bert)


@pytest.fixture(scope="module")
def t5(tiny_t5):
    return AutoTokenizer.from_pretrained(tiny_t5)


@pytest.fixture(scope="module")
def llama(tiny_llama):
    return AutoTokenizer.from_pretrained(tiny_llama)


@pytest.fixture(scope="module")
def roberta():
    """A byte-level tokenizer that writes `<s> text </s>`, as RoBERTa's and MPNet's do."""
    backend = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    backend.train_from_iterator([TITLE, TEXT], vocab_size=300, special_tokens=special)
    backend = backend._tokenizer
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, cls_token="<s>", sep_token="</s>", pad_token="<pad>"
    )


@pytest.fixture(scope="module")
def plain():
    """A tokenizer of whole words that adds nothing at all; its vocabulary holds its markup."""
    words = {word: i for i, word in enumerate(["<unk>", "</s>", *TITLE.split(), *TEXT.split()])}
    backend = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token="</s>")


@pytest.fixture(params=["bert", "t5", "llama", "roberta", "plain"])
def tokenizer(request):
    return request.getfixturevalue(request.param)


def ids(tokenizer, text, **options):
    return tokenizer(text, **options)["input_ids"]


# The retriever's input


def test_bert_reads_hugging_faces_pair(bert):
    template = RetrieverTemplate(bert, max_length=64)
    assert template([TITLE], [TEXT]) == [ids(bert, TITLE, text_pair=TEXT)]
    assert template([""], [TEXT]) == [ids(bert, TEXT)]
    assert template.questions(["who built it ?"]) == [ids(bert, "who built it ?")]


def test_roberta_reads_title_separator_text_in_its_single_template(roberta):
    template = RetrieverTemplate(roberta, max_length=64)
    assert template([TITLE], [TEXT]) == [ids(roberta, f"{TITLE}</s>{TEXT}")]
    assert template.questions([TEXT]) == [ids(roberta, TEXT)]


def test_without_a_separator_the_title_stands_on_a_line_of_its_own(t5, llama, plain):
    for tokenizer in (t5, llama, plain):
        template = RetrieverTemplate(tokenizer, max_length=99)
        assert template([TITLE], [TEXT]) == [ids(tokenizer, f"{TITLE}\n{TEXT}")]
        assert template([" "], [TEXT]) == template.questions([TEXT]) == [ids(tokenizer, TEXT)]


def test_a_title_alone_has_one_separator(bert):
    template = RetrieverTemplate(bert, max_length=64)
    assert template([TITLE], [""]) == template.questions([TITLE])


def test_a_prefix_is_read_as_part_of_the_text(tokenizer):
    plain = RetrieverTemplate(tokenizer, max_length=99)
    prefixed = RetrieverTemplate(tokenizer, max_length=99, prefix="the moon ")
    assert prefixed.questions([TEXT]) == plain.questions(["the moon " + TEXT])
    assert prefixed([TITLE, ""], [TEXT] * 2) == plain(
        ["the moon " + TITLE, ""], [TEXT, "the moon " + TEXT]
    )


def test_special_tokens_of_a_prefix_are_special_and_those_of_a_text_are_not(tokenizer):
    known = [token for token in tokenizer.all_special_tokens if token != tokenizer.unk_token]
    prefixes = [f"{token} the moon " for token in known] + [f"the {known[0]}moon: {known[-1]}"]
    for prefix in prefixes:
        template = RetrieverTemplate(tokenizer, max_length=500, prefix=prefix)
        plain = RetrieverTemplate(tokenizer, max_length=500)
        assert template.questions([TEXT, ""]) == [ids(tokenizer, prefix + t) for t in (TEXT, "")]
        expected = [ids(tokenizer, prefix + TEXT)]
        assert template([" "], [TEXT]) == expected
        # What a title makes of the text behind it, it makes of it behind the prefix too.
        (titled,), (without,) = template([TITLE], [TEXT]), plain([TITLE], [TEXT])
        shared = len(plain([""], [TEXT])[0]) // 2
        assert titled[-shared:] == without[-shared:]
        special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}

        def count(row, special=special):
            return sum(one in special for one in row)

        around = len(template._head) + len(template._tail)
        written = count(ids(tokenizer, prefix, add_special_tokens=False))
        assert written >= 1
        for text in (MARKUP, f"{known[0]} {TEXT}", f"\U0010ffff{known[0]}\U0010ffff moon"):
            for row in (*template.questions([text]), *template([""], [text])):
                assert count(row) == around + written
        assert template.fingerprint != plain.fingerprint


def test_a_chat_like_prefix_is_read_as_transformers_reads_it(llama):
    prefix = "<|im_start|>the garden\nfind what answers<|end|>\n<|im_start|>"
    template = RetrieverTemplate(llama, max_length=500, prefix=prefix, append_eos=True)
    end = llama.eos_token_id
    assert template.questions([TEXT]) == [[*ids(llama, prefix + TEXT), end]]
    around = [ids(llama, f"{prefix}{text}") for text in ("", "<|end|>")]
    (row,) = template.questions(["<|end|>"])
    assert row.count(end) == around[0].count(end) + 1 and row != [*around[1], end]


def test_end_of_sequence_is_appended_once(t5, llama, bert):
    ending = RetrieverTemplate(llama, max_length=8, append_eos=True)
    assert ending.questions([TEXT, "moon"])[0][-1] == llama.eos_token_id
    assert len(ending.questions([TEXT])[0]) == 8
    twice = RetrieverTemplate(t5, max_length=50, append_eos=True)
    assert twice.questions([TEXT]) == [ids(t5, TEXT)]
    with pytest.raises(ConfigError, match="end-of-sequence"):
        RetrieverTemplate(bert, max_length=8, append_eos=True)


def test_truncation_takes_the_text_from_its_end_and_then_the_title(tokenizer):
    whole = RetrieverTemplate(tokenizer, max_length=1000)
    (full,) = whole([TITLE], [TEXT])
    (titled,) = whole([TITLE], [""])
    head, tail = whole._head, whole._tail
    for length in range(len(head) + len(tail) + 1, len(full) + 3):
        (row,) = RetrieverTemplate(tokenizer, max_length=length)([TITLE], [TEXT])
        kept = row[len(head) : len(row) - len(tail)]
        assert row[: len(head)] == head and row[len(row) - len(tail) :] == tail
        if length >= len(full):  # exactly at the limit nothing is touched
            assert row == full
        elif length > len(titled) + len(whole._separator):
            assert len(row) == length and kept == full[len(head) : len(head) + len(kept)]
        else:  # too short for any text
            assert (
                kept == titled[len(head) : len(head) + length - len(head) - len(tail)][: len(kept)]
            )
            assert len(row) == min(length, len(titled))


def test_one_token_over_the_limit_loses_the_last_token_of_the_text(bert):
    (full,) = RetrieverTemplate(bert, max_length=1000)([TITLE], [TEXT])
    assert RetrieverTemplate(bert, max_length=len(full))([TITLE], [TEXT]) == [full]
    (cut,) = RetrieverTemplate(bert, max_length=len(full) - 1)([TITLE], [TEXT])
    assert cut == [*full[:-2], full[-1]]


def test_a_length_without_room_for_a_text_is_refused(bert):
    RetrieverTemplate(bert, max_length=5, prefix="moon river ")
    with pytest.raises(ConfigError, match="no room"):
        RetrieverTemplate(bert, max_length=4, prefix="moon river ")


def test_markup_in_a_text_is_never_a_special_token(tokenizer):
    template = RetrieverTemplate(tokenizer, max_length=500)
    around = len(template._head), len(template._tail)
    # A word that is not in the vocabulary is unknown, whatever it says.
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    for row in (*template.questions([MARKUP]), *template([""], [MARKUP])):
        assert special.isdisjoint(row[around[0] : len(row) - around[1]])


def test_markup_is_read_as_split_special_tokens_reads_it(bert, llama, roberta):
    for tokenizer in (bert, llama, roberta):
        template = RetrieverTemplate(tokenizer, max_length=500)
        assert template.questions([MARKUP]) == [ids(tokenizer, MARKUP, split_special_tokens=True)]


def test_a_template_survives_pickling_and_leaves_its_tokenizer_alone(tokenizer):
    before = tokenizer.backend_tokenizer.to_str()
    template = RetrieverTemplate(tokenizer, max_length=12, prefix="the ")
    copied = pickle.loads(pickle.dumps(template))
    assert copied([TITLE, ""], [TEXT, MARKUP]) == template([TITLE, ""], [TEXT, MARKUP])
    assert copied.fingerprint == template.fingerprint
    assert tokenizer.backend_tokenizer.to_str() == before


def test_fingerprints_follow_what_is_computed_and_not_earlier_calls(tokenizer, bert, tmp_path):
    def fingerprint(tokenizer=tokenizer, max_length=12, **options):
        return RetrieverTemplate(tokenizer, max_length=max_length, **options).fingerprint

    first = fingerprint()
    tokenizer.backend_tokenizer.enable_truncation(3)
    assert fingerprint() == first
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.save_pretrained(tmp_path)
    assert fingerprint(AutoTokenizer.from_pretrained(tmp_path)) == first
    assert len({first, fingerprint(max_length=13), fingerprint(prefix="the ")}) == 3
    assert tokenizer is bert or fingerprint(bert) != first


def test_ids_stay_below_the_vocabulary_size(tokenizer):
    template = RetrieverTemplate(tokenizer, max_length=500)
    assert template.vocab_size == len(tokenizer)
    assert max(map(max, template([TITLE], [MARKUP]))) < template.vocab_size


def test_a_tokenizer_without_a_fast_backend_is_refused():
    with pytest.raises(ArtError, match="not a fast tokenizer"):
        RetrieverTemplate(object(), max_length=9)


# The teacher's input


def whole_prompt(title, text):
    passage = f"{title} {text}".strip()
    return PAPER_PASSAGE_PROMPT.replace("{passage}", passage)


@pytest.mark.parametrize("title", [TITLE, ""])
def test_t5_pieces_are_the_ids_of_the_whole_prompt(t5, title):
    template = LikelihoodTemplate(t5, family="encoder-decoder")
    (passage,) = template.passages([title], [TEXT])
    assert template.context(passage) == ids(t5, whole_prompt(title, TEXT))
    assert template.target("who built it ?") == ids(t5, "Question: who built it ?")


@pytest.mark.parametrize("title", [TITLE, ""])
def test_byte_level_pieces_are_the_ids_of_the_whole_prompt(llama, title):
    template = LikelihoodTemplate(llama, family="causal")
    (passage,) = template.passages([title], [TEXT])
    whole = whole_prompt(title, TEXT) + " Question: who built it ?"
    assert [*template.context(passage), *template.target(" who built it ?")] == ids(llama, whole)


def test_prompts_of_every_shape_give_the_ids_of_the_whole(llama):
    for prompt in ("{passage}", "{passage} :", "Passage:\n{passage}\nAsk:", "moon river {passage}"):
        for prefix in ("Question:", ""):
            options = {"passage_prompt": prompt, "question_prefix": prefix}
            template = LikelihoodTemplate(llama, family="causal", **options)
            (passage,) = template.passages([TITLE], [TEXT])
            whole = prompt.replace("{passage}", f"{TITLE} {TEXT}") + " " * bool(prefix) + prefix
            found = [*template.context(passage), *template.target("who")]
            assert found == ids(llama, whole + " who")


def test_only_the_passage_is_cut_and_exactly_at_the_limit_nothing_is(t5, llama):
    for tokenizer, family in ((t5, "encoder-decoder"), (llama, "causal")):
        long = LikelihoodTemplate(tokenizer, family=family, max_length=10_000)
        (passage,) = long.passages([TITLE], [TEXT * 50])
        full = long.context(passage)
        exact = LikelihoodTemplate(tokenizer, family=family, max_length=len(full))
        assert exact.context(passage) == full
        over = LikelihoodTemplate(tokenizer, family=family, max_length=len(full) - 1)
        assert over.context(passage) == long.context(passage[:-1])
        short = LikelihoodTemplate(tokenizer, family=family, max_length=120)
        assert len(short.context(passage)) == 120
        assert short.context(passage)[-20:] == full[-20:]


def test_targets_are_cut_and_keep_their_end(t5, llama):
    whole = LikelihoodTemplate(t5, family="encoder-decoder").target(TEXT)
    cut = LikelihoodTemplate(t5, family="encoder-decoder", question_length=9).target(TEXT)
    assert cut == [*whole[:8], t5.eos_token_id]
    causal = LikelihoodTemplate(llama, family="causal")
    assert (
        LikelihoodTemplate(llama, family="causal", question_length=4).target(TEXT)
        == causal.target(TEXT)[:4]
    )
    assert llama.decode(causal.target("who")) == " who"
    with pytest.raises(DataError, match="no tokens"):
        LikelihoodTemplate(
            llama, family="causal", passage_prompt="{passage}\n", question_prefix=""
        ).target(" ")


def test_markup_in_passages_and_questions_is_never_a_special_token(t5, llama):
    for tokenizer, family in ((t5, "encoder-decoder"), (llama, "causal")):
        template = LikelihoodTemplate(tokenizer, family=family)
        special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
        (passage,) = template.passages([MARKUP], [MARKUP])
        target = template.target(MARKUP)
        assert special.isdisjoint(passage)
        assert special.isdisjoint(target[:-1] if family == "encoder-decoder" else target)


def test_special_tokens_of_a_question_prefix_are_special(t5, llama):
    for tokenizer, family in ((t5, "encoder-decoder"), (llama, "causal")):
        prefix = f"moon {tokenizer.eos_token} Question: "
        template = LikelihoodTemplate(tokenizer, family=family, question_prefix=prefix)
        read = [
            *template.context(template.passages([""], [TEXT])[0]),
            *template.target("</s> moon"),
        ]
        own = 2 if family == "encoder-decoder" else 0  # ends of context and target
        assert read.count(tokenizer.eos_token_id) == 1 + own


def test_the_chat_template_wraps_the_prompt_and_the_prefix_begins_the_answer(llama):
    template = LikelihoodTemplate(llama, family="causal", chat_template=True)
    (passage,) = template.passages([TITLE], [TEXT])
    turn = [{"role": "user", "content": whole_prompt(TITLE, TEXT)}]
    rendered = llama.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    whole = f"{rendered}Question: who"
    expected = ids(llama, whole, add_special_tokens=False)
    assert [*template.context(passage), *template.target("who")] == expected
    options = {"passage_prompt": template.prompt, "question_prefix": ""}
    again = LikelihoodTemplate(llama, family="causal", **options)
    assert again.context(passage) == template.context(passage)


def test_a_beginning_of_sequence_stands_once(llama):
    beginning = AutoTokenizer.from_pretrained(llama.name_or_path)
    first = beginning.bos_token_id
    beginning.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", first)]
    )
    for chat in (False, True):
        template = LikelihoodTemplate(beginning, family="causal", chat_template=chat)
        context = template.context([])
        assert context[0] == first and context[1] != first


def test_passages_are_shared_between_prompts_and_lengths(llama):
    options = [
        {},
        {"max_length": 99, "passage_prompt": "Read: {passage} ."},
        {"chat_template": True},
    ]
    templates = [LikelihoodTemplate(llama, family="causal", **one) for one in options]
    assert len({one.fingerprint for one in templates}) == 1
    other = LikelihoodTemplate(llama, family="causal", passage_prompt="{passage} Ask:")
    assert other.fingerprint != templates[0].fingerprint
    assert pickle.loads(pickle.dumps(other)).passages(["a"], ["b"]) == other.passages(["a"], ["b"])


def test_prompts_that_cannot_work_are_refused(t5, llama, bert):
    for prompt in ("no place", "{passage} {passage}"):
        with pytest.raises(ConfigError, match="exactly once"):
            LikelihoodTemplate(llama, family="causal", passage_prompt=prompt)
    with pytest.raises(ConfigError, match="no room"):
        LikelihoodTemplate(t5, family="encoder-decoder", max_length=20)
    with pytest.raises(ConfigError, match="no room"):
        LikelihoodTemplate(t5, family="encoder-decoder", question_length=1)
    with pytest.raises(ConfigError, match="decoder-only"):
        LikelihoodTemplate(t5, family="encoder-decoder", chat_template=True)
    with pytest.raises(ConfigError, match="no chat template"):
        LikelihoodTemplate(bert, family="causal", chat_template=True)
