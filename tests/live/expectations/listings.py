"""Infos and lists with all their filters, sorts and expansions."""

import json
import struct
from typing import Any, get_args

from expectations.base import ROBOT, Area, refused
from huggingface_hub import hf_api
from huggingface_hub.errors import NotASafetensorsRepoError, SafetensorsParsingError
from huggingface_hub.utils import HfHubHTTPError

CARD = """---
license: mit
language: [en, fr]
library_name: transformers
pipeline_tag: fill-mask
datasets: [{dataset}]
tags: [{tag}, tensorboard]
co2_eq_emissions: 17
model-index:
- name: x
  results: []
---
# A card
"""
DATASET_CARD = """---
license: mit
language: [en, fr]
language_creators: [crowdsourced]
multilinguality: [multilingual]
size_categories: ["100K<n<1M"]
task_categories: [audio-classification]
task_ids: [natural-language-inference]
tags: [{tag}]
---
# Data
"""


class Listings(Area):
    def _model(self, tag: str, **files: bytes) -> str:
        repo = self.repo()
        card = CARD.format(tag=tag, dataset="squad").encode()
        config = json.dumps({"model_type": "bert", "architectures": ["BertForMaskedLM"]}).encode()
        self.put(repo, {"README.md": card, "config.json": config, **files})
        return repo

    # --- models --------------------------------------------------------------------------------------------------
    def expect_models_are_found_by_what_their_card_says(self) -> None:
        tag = self.name("tag")
        repo = self._model(tag)

        def found(**query: Any) -> set[str]:
            return {one.id for one in self.api.list_models(filter=[tag, *query.pop("filter", [])], **query)}

        for words in ("fill-mask", "en", "fr", "license:mit", "transformers", "tensorboard", "dataset:squad"):
            assert found(filter=[words]) == {repo}, words
        assert found(pipeline_tag="fill-mask") == {repo} == found(trained_dataset="squad") == found(author=ROBOT)
        assert found(search=repo.split("/")[1]) == {repo}
        for words in ("dummytask", "zh", "license:apache-2.0"):
            assert found(filter=[words]) == set(), words
        assert found(pipeline_tag="text-generation") == set() == found(author="nobody") == found(search="no-such-words")

    def expect_lists_carry_the_fields_of_a_card(self) -> None:
        tag = self.name("tag")
        self._model(tag)
        (one,) = self.api.list_models(filter=tag)
        assert (one.pipeline_tag, one.library_name) == ("fill-mask", "transformers") and tag in one.tags
        assert one.card_data is None and one.config is None and one.siblings is None
        (one,) = self.api.list_models(filter=tag, cardData=True)
        assert one.card_data.license == "mit" and one.card_data["co2_eq_emissions"] == 17
        (one,) = self.api.list_models(filter=tag, fetch_config=True)
        assert one.config["model_type"] == "bert"
        (one,) = self.api.list_models(filter=tag, full=True)
        assert one.sha and one.last_modified and {"config.json", "README.md"} <= {f.rfilename for f in one.siblings}
        assert [m.id for m in self.api.list_models(filter=tag, emissions_thresholds=(5, 100), cardData=True)] == [
            one.id
        ]
        assert list(self.api.list_models(filter=tag, emissions_thresholds=(20, 100), cardData=True)) == []

    def expect_only_the_expanded_fields(self) -> None:
        tag = self.name("tag")
        repo = self._model(tag)
        (one,) = self.api.list_models(filter=tag, expand=["author"])
        assert (one.id, one.author) == (repo, ROBOT)
        assert one.downloads is None and one.created_at is None and one.last_modified is None
        (one,) = self.api.list_models(filter=tag, expand=["author", "downloadsAllTime"])
        assert one.downloads_all_time is not None and one.downloads is None
        one = self.api.model_info(repo, expand=["author", "downloadsAllTime"])
        assert one.author == ROBOT and one.downloads_all_time is not None and one.downloads is None
        assert one.created_at is None and one.last_modified is None

    def expect_every_expansion_which_the_client_knows(self) -> None:
        for kind, words in (
            ("model", hf_api.ExpandModelProperty_T), ("dataset", hf_api.ExpandDatasetProperty_T),
            ("space", hf_api.ExpandSpaceProperty_T),
        ):  # fmt: skip
            repo = self.repo(kind)
            known = list(get_args(words))
            assert self.api.repo_info(repo, repo_type=kind, expand=known).id == repo
            listing = getattr(self.api, f"list_{kind}s")
            assert next(iter(listing(author=ROBOT, expand=known, limit=1))).id

    def expect_unknown_expansions_are_400_and_name_the_known_ones(self) -> None:
        for kind, words in (
            ("model", hf_api.ExpandModelProperty_T), ("dataset", hf_api.ExpandDatasetProperty_T),
            ("space", hf_api.ExpandSpaceProperty_T),
        ):  # fmt: skip
            repo = self.repo(kind)
            with refused(status=400):
                list(getattr(self.api, f"list_{kind}s")(expand=["foo"]))
            try:
                self.api.repo_info(repo, repo_type=kind, expand=["does_not_exist"])
            except HfHubHTTPError as error:
                message = error.response.json()["error"]
                assert error.response.status_code == 400
                listed = set(message.split("one of ")[1].split("\n")[0].replace('"', "").split("|"))
                assert listed - {"gitalyUid", "xetEnabled"} == set(get_args(words)), listed ^ set(get_args(words))
            else:
                raise AssertionError("nothing was raised")

    def expect_sorts_and_limits(self) -> None:
        tag = self.name("tag")
        repos = [self._model(tag) for _ in range(3)]
        newest = [one.id for one in self.api.list_models(filter=tag, sort="created_at")]
        assert newest == repos[::-1] and newest[:2] == [
            o.id for o in self.api.list_models(filter=tag, sort="created_at", limit=2)
        ]
        self.put(repos[0], {"more.txt": b"more"})
        assert next(iter(self.api.list_models(filter=tag, sort="last_modified"))).id == repos[0]
        for sort in ("trending_score", "downloads", "likes"):
            found = list(self.api.list_models(filter=tag, sort=sort))
            assert len(found) == 3 and all(getattr(one, sort) is not None for one in found), sort

    def expect_gated_models_are_told_apart(self) -> None:
        tag = self.name("tag")
        free, gated = self._model(tag), self._model(tag)
        self.api.update_repo_settings(gated, gated="manual")
        assert [(m.id, m.gated) for m in self.api.list_models(filter=tag, expand=["gated"], gated=True)] == [
            (gated, "manual")
        ]
        assert [(m.id, m.gated) for m in self.api.list_models(filter=tag, expand=["gated"], gated=False)] == [
            (free, False)
        ]

    def expect_private_ones_are_listed_for_their_owner_only(self) -> None:
        for kind in ("model", "dataset"):
            repo = self.repo(kind, private=True)
            listing = getattr(self.api, f"list_{kind}s")
            query = {"sort": "created_at", "limit": 100, "author": ROBOT}
            assert repo in {one.id for one in listing(**query)}
            assert repo not in {one.id for one in listing(token=False, **query)}
            assert repo not in {one.id for one in listing(token=self.other_token, **query)}

    def expect_more_than_a_page(self) -> None:
        tag = self.name("page")
        repos = [self.api.create_repo(f"{tag}-{number:03}").repo_id for number in range(23)]
        assert {one.id for one in self.api.list_models(search=tag)} == set(repos)
        assert len(list(self.api.list_models(search=tag, limit=7))) == 7

    def expect_models_by_size_and_app(self) -> None:
        tag = self.name("tag")
        header = json.dumps({"w": {"dtype": "F32", "shape": [1000, 20], "data_offsets": [0, 80000]}}).encode()
        weights = struct.pack("<Q", len(header)) + header + bytes(80000)
        repo = self._model(tag, **{"model.safetensors": weights})
        assert {one.id for one in self.api.list_models(filter=tag, num_parameters="min:10K,max:30K")} == {repo}
        assert list(self.api.list_models(filter=tag, num_parameters="min:6B,max:128B")) == []
        assert self.api.model_info(repo).safetensors.parameters == {"F32": 20000}
        info = self.api.get_safetensors_metadata(repo)
        assert (
            not info.sharded
            and info.parameter_count == {"F32": 20000}
            and info.weight_map == {"w": "model.safetensors"}
        )
        one = self.api.parse_safetensors_file_metadata(repo, "model.safetensors")
        assert one.tensors["w"].shape == [1000, 20] and one.parameter_count == {"F32": 20000}
        with refused(SafetensorsParsingError):
            self.api.parse_safetensors_file_metadata(repo, "config.json")
        with refused(NotASafetensorsRepoError):
            self.api.get_safetensors_metadata(self.repo())

    # --- one info ------------------------------------------------------------------------------------------------
    def expect_infos_of_a_revision_with_files_and_security(self) -> None:
        repo = self._model(self.name("tag"), **{"lfs.bin": b"LFS content"})
        first = self.api.model_info(repo).sha
        self.put(repo, {"more.txt": b"more"})
        info = self.api.model_info(repo, revision=first, files_metadata=True)
        assert info.sha == first and "more.txt" not in {one.rfilename for one in info.siblings}
        assert all(isinstance(one.blob_id, str) and isinstance(one.size, int) for one in info.siblings)
        (lfs,) = [one.lfs for one in info.siblings if one.lfs]
        assert "sha256" in lfs and lfs["size"] == 11
        status = self.api.model_info(repo, securityStatus=True).security_repo_status
        assert isinstance(status["scansDone"], bool) and "filesWithIssues" in status
        assert self.api.model_info(repo).created_at.tzinfo is not None
        assert self.api.list_repo_files(repo) == [".gitattributes", "README.md", "config.json", "lfs.bin", "more.txt"]

    def expect_checksums_are_verified(self) -> None:
        repo = self.repo()
        self.put(repo, {"file.txt": b"data", "lfs.bin": b"more data"})
        info = self.api.model_info(repo)
        self.api.snapshot_download(repo)
        found = self.api.verify_repo_checksums(repo, revision=info.sha)
        assert found.revision == info.sha and found.checked_count == 3 and not found.mismatches

    # --- datasets and spaces -------------------------------------------------------------------------------------
    def expect_datasets_are_found_by_what_their_card_says(self) -> None:
        tag = self.name("tag")
        repo = self.repo("dataset")
        self.put(repo, {"README.md": DATASET_CARD.format(tag=tag).encode()}, repo_type="dataset")
        queries: list[dict[str, Any]] = [
            {"language": "en"}, {"language": ["en", "fr"]}, {"language_creators": "crowdsourced"},
            {"multilinguality": "multilingual"}, {"size_categories": "100K<n<1M"}, {"author": ROBOT},
            {"task_categories": "audio-classification"}, {"task_ids": "natural-language-inference"},
            {"search": repo.split("/")[1]}, {"author": ROBOT, "dataset_name": repo.split("/")[1]}, {"gated": False},
        ]  # fmt: skip
        for query in queries:
            assert [one.id for one in self.api.list_datasets(filter=tag, **query)] == [repo], query
        assert list(self.api.list_datasets(filter=tag, language="zh")) == []
        assert list(self.api.list_datasets(filter=tag, benchmark="official")) == []
        (plain,), (full,) = self.api.list_datasets(filter=tag), self.api.list_datasets(filter=tag, full=True)
        assert plain.card_data is None and full.card_data.license == "mit" and "language:en" in plain.tags
        (one,) = self.api.list_datasets(filter=tag, expand=["author", "downloadsAllTime"])
        assert one.author == ROBOT and one.downloads_all_time is not None and one.downloads is None
        info = self.api.dataset_info(repo, files_metadata=True)
        assert len(info.card_data) > 0 and all(file.blob_id and file.size is not None for file in info.siblings)
        assert self.api.dataset_info(repo, expand=["author"]).created_at is None

    def expect_spaces_are_found_by_what_they_use(self) -> None:
        tag = self.name("tag")
        repo = self.repo("space")
        card = f"---\nsdk: static\ntags: [{tag}]\nmodels: [some/model]\ndatasets: [some/data]\n---\n"
        self.put(repo, {"README.md": card.encode()}, repo_type="space")
        found = [one.id for one in self.api.list_spaces(search=repo.split("/")[1])]
        assert found == [repo] == [one.id for one in self.api.list_spaces(filter=tag, author=ROBOT)]
        assert [one.id for one in self.api.list_spaces(filter=tag, models="some/model")] == [repo]
        assert [one.id for one in self.api.list_spaces(filter=tag, datasets="some/data")] == [repo]
        assert list(self.api.list_spaces(filter=tag, models="another/model")) == []
        (one,) = self.api.list_spaces(filter=tag, expand=["author", "likes"])
        assert one.author == ROBOT and one.likes == 0 and one.created_at is None
        (full,) = self.api.list_spaces(filter=tag, full=True)
        assert full.card_data and len(list(self.api.list_spaces(author=ROBOT, limit=1))) == 1

    def expect_tags_by_type(self) -> None:
        self._model(self.name("tag"))
        tags = self.api.get_model_tags()
        assert isinstance(tags, dict) and all(isinstance(rows, list) for rows in tags.values()), tags
        assert isinstance(self.api.get_dataset_tags(), dict)
