"""A served monitor on the loopback, and a model that recites."""

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

from models_under_pressure.monitor.serving.app import create_app
from models_under_pressure.monitor.serving.engine import Engine
from models_under_pressure.monitor.serving.guard import Limits
from models_under_pressure.monitor.serving.run import listen, server_of


@dataclass
class Served:
    """A running server."""

    url: str
    engine: Engine
    place: object
    monitor: object

    @property
    def port(self):
        return self.place.getsockname()[1]

    def client(self, **settings):
        from openai import OpenAI

        return OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, **settings)


@contextmanager
def serving(monitor, *, name="tiny", log=None, stops=False, at_once=4, waiting=16, grace=5, **limits):
    """Serve a monitor in a thread of this process."""
    place = listen("127.0.0.1", 0)
    engine = Engine(at_once=at_once, waiting=waiting)
    own = Limits(**{"most_tokens": 64, "seconds": 5.0, **limits})
    app = create_app(monitor, engine, name=name, limits=own, stops=stops, log=log)
    server = server_of(app, seconds=own.seconds, grace=grace)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [place]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    url = f"http://127.0.0.1:{place.getsockname()[1]}"
    try:
        yield Served(url, engine, place, monitor)
    finally:
        server.should_exit = True
        thread.join(timeout=30)
        assert not thread.is_alive()


def reciting(source, folder, *texts):
    """A model in a folder that answers with these texts, each of them one token and different from the others.

    Its blocks add nothing, so the next token depends on the latest alone; a reply is opened by a line feed.
    """
    import torch
    from tokenizers import AddedToken
    from transformers import AutoConfig, AutoTokenizer, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in texts])
    tokenizer.save_pretrained(folder)
    config = AutoConfig.from_pretrained(source)
    config.vocab_size, config.eos_token_id = 600, tokenizer.eos_token_id
    torch.manual_seed(1)
    model = LlamaForCausalLM(config)
    ids = [tokenizer("\n")["input_ids"][-1], *tokenizer.convert_tokens_to_ids(list(texts)), tokenizer.eos_token_id]
    with torch.no_grad():
        for block in model.model.layers:
            block.self_attn.o_proj.weight.zero_()
            block.mlp.down_proj.weight.zero_()
        model.lm_head.weight.zero_()
        for latest, following in pairwise(ids):
            model.lm_head.weight[following] = model.model.embed_tokens.weight[latest] * 1000
    model.save_pretrained(folder)
    return folder
