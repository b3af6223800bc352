"""What people do with `transformers`: `python transformers_story.py TASK.json`, HF_ENDPOINT being the hub."""

import huggingface_hub
import torch
import transformers
from common import task, tell
from huggingface_hub import HfApi
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModel, AutoTokenizer, BertConfig, BertModel, PreTrainedTokenizerFast, pipeline

told = task()
repo, private = f"alice/{told['prefix']}", f"alice/{told['prefix']}-private"
words = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world"])}
tiny = {"vocab_size": 8, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
torch.manual_seed(0)
model = BertModel(BertConfig(**tiny)).eval()
ids = torch.tensor([[2, 5, 6, 3]])


def tokenizer() -> PreTrainedTokenizerFast:
    raw = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]")


def same(other: BertModel) -> bool:
    with torch.no_grad():
        return torch.equal(model(ids).last_hidden_state, other.eval()(ids).last_hidden_state)


def push_to_hub_of_a_model() -> None:
    model.push_to_hub(repo)
    assert {"config.json", "model.safetensors"} <= set(HfApi().list_repo_files(repo))


def push_to_hub_of_a_tokenizer() -> None:
    tokenizer().push_to_hub(repo)
    assert "tokenizer.json" in HfApi().list_repo_files(repo)


def from_pretrained_by_name() -> None:
    assert same(AutoModel.from_pretrained(repo)) and AutoConfig.from_pretrained(repo).hidden_size == 16
    assert AutoTokenizer.from_pretrained(repo)("hello world")["input_ids"] == [5, 6]


def from_pretrained_of_a_revision() -> None:
    sha = HfApi().model_info(repo).sha
    HfApi().create_tag(repo, tag="v1")
    for revision in (sha, "v1", "main"):
        assert same(AutoModel.from_pretrained(repo, revision=revision))


def the_hub_knows_what_it_is() -> None:
    info = HfApi().model_info(repo)
    assert info.library_name == "transformers" and info.config["model_type"] == "bert", (info.library_name, info.config)
    assert info.safetensors.total == sum(p.numel() for p in model.parameters()), info.safetensors


def a_private_model() -> None:
    model.push_to_hub(private, private=True)
    assert same(AutoModel.from_pretrained(private))
    try:
        AutoModel.from_pretrained(private, token=told["bob"], cache_dir=told["folder"] + "/bob")
    except OSError as error:
        assert "is not a local folder and is not a valid model identifier" in str(error), error
        return
    raise AssertionError("bob read it")


def push_to_hub_as_a_pull_request() -> None:
    model.push_to_hub(repo, create_pr=True, commit_message="Again")
    BertModel(BertConfig(**{**tiny, "num_hidden_layers": 2})).push_to_hub(repo, create_pr=True)
    numbers = [one.num for one in HfApi().get_repo_discussions(repo)]
    assert numbers, numbers
    assert AutoModel.from_pretrained(repo, revision=f"refs/pr/{numbers[0]}").config.num_hidden_layers == 2


def from_pretrained_in_a_subfolder() -> None:
    model.save_pretrained(told["folder"] + "/saved")
    HfApi().upload_folder(folder_path=told["folder"] + "/saved", path_in_repo="inner", repo_id=repo)
    assert same(AutoModel.from_pretrained(repo, subfolder="inner"))


def a_pipeline_by_name() -> None:
    feature = pipeline("feature-extraction", model=repo)("hello world")
    assert len(feature[0]) == 2 and len(feature[0][0]) == 16


def a_missing_file_and_a_missing_model_are_told() -> None:
    for name in ("alice/no-such-model", f"alice/{told['prefix']}-private-x"):
        try:
            AutoModel.from_pretrained(name)
        except OSError as error:
            assert "not a valid model identifier" in str(error), error
        else:
            raise AssertionError("it was found")


tell(
    f"{transformers.__version__} (huggingface_hub {huggingface_hub.__version__})",
    [
        push_to_hub_of_a_model, push_to_hub_of_a_tokenizer, from_pretrained_by_name, from_pretrained_of_a_revision,
        the_hub_knows_what_it_is, a_private_model, push_to_hub_as_a_pull_request, from_pretrained_in_a_subfolder,
        a_pipeline_by_name, a_missing_file_and_a_missing_model_are_told,
    ],
)  # fmt: skip
