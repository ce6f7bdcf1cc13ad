"""The program that runs on the device: loads graphs, times calls, streams samples.

It needs Python, numpy and onnxruntime and nothing else, so that a board or a phone can run it; of
benchbox it imports only itself. It talks JSON Lines: one request per line on stdin, replies on
stdout, diagnostics on stderr. It ends when stdin closes.

    -> {"op": "hello", "protocol": 1, "threads": n,
        "cpus": [i, ...] | "big" | "middle" | "little" | null,
        "gpu": "cuda:0", "provider": name,
        "plugin"?: {"provider": name or empty, "library": path or empty, "options": {name: text}},
        "driving": {"mode": "graph" | "eager", "cache": "hot" | "cold",
            "tf32": bool, "conv_search": "exhaustive" | "heuristic" | "default" | null} | null}
    <- {"reply": "hello", "protocol": 1, "versions": {...}, "providers": [...],
        "plugins": providers that Python has packages of, "build"?: how ONNX Runtime was built,
        "host": {..., "clusters": [{"cpus": [...], "capacity"?, "top_khz"?, "core"?}, ...],
                 "setting": {name: words, ...}, "gpu"?: {"name", "driver", ...},
                 "gpu_bus"?: its PCI bus id,
                 "energy"?: {"source", "idle_w", "idle_s", "step_s"} or {"missing": reason}},
        "cpus": [...], "affinity": [...] | null, "rss_bytes": n, of a GPU "seen": {...},
        "plugin"?: {"provider", "library", "sha256", "device", "hardware", "version", "options"}}
       with the fastest cluster first; benchbox.agent.host.health tells what a setting is
    -> {"op": "load", "graph": id, "path": p, "provider": name, "seed": n,
        "inputs": [{"name", "shape", "dtype",
            "values"?: {"file": path of a .npy} | {"number": x} | {"text": s} | {"below": n}}, ...],
        "denormals": whether to look for them, "types": whether to say in which it computes, for
            each operator too where it is "operators",
        "compare": "single" | "half" | "quantised" | null, the type in which it computes at least,
            where its outputs by another provider are to be compared with the CPU's}
    <- {"reply": "load", "load_s": s, "first_call_s": s, "finite": bool, "outputs": [...],
        "nodes": {provider: how many of the graph's nodes it runs} | null,
        "denormal_ratio": x | null, "affinity": [...] | null, "rss_bytes": n, "peak_rss_bytes": n,
        "peak_bytes": n | null, "gpu_bytes": n | null,
        "output_error"?: share of an output | null, "computed_in"?: type | null,
        "types"?: {type or operator:type : how many nodes gave it, casts left out} | null}
    -> {"op": "time", "bursts": [[id, calls, stream?, period_s?], ...]}
    <- {"burst": {"graph": id, "latencies_ns": [...], "switches": [...] | null,
        "probe": "compute" | "stream", "marks": [[calls before it, ns], ...],
        "stream_ns": [before, after], "refill_ns": [before, after], "probed_ns": n,
        "pool": whether several threads worked, "seen": {counter: n, ...},
        of a GPU "spans_ns": [...], "enqueues_ns": [...], "unheld": n, "copies_ns": [...],
        "cold": bool}}
       for each, then {"reply": "time", "peak_rss_bytes": n, "setting": {...}}; calls that come
       every period_s have no marks, but "slept_ns": n, the time between them
    -> {"op": "look", "cpu": i, "seconds": s}
    <- {"reply": "look", "look": {..., of a GPU "gpu": {"readings_ns": [...], "seen": {...}}},
        "facts": {...}}
    -> {"op": "health"}
    <- {"reply": "health", "temperature_c": x | null, "setting": {...}}
    -> {"op": "gpu", "index": i, "provider": name}, before any hello
    <- {"reply": "gpu"} where graphs can be run on it, else an error
    -> {"op": "ceilings"}
    <- {"reply": "ceilings", "ceilings": {name: n, ...}, "seen": {...}}
    -> {"op": "cpu_ceilings"}
    <- {"reply": "cpu_ceilings", "ceilings": {name: n, ...}}
    -> {"op": "profile", "path": p, "provider": name, "inputs": [...], "seed": n, "most_calls": n,
        "brief"?: whether it is one of many graphs}
    <- {"step": {"share": done, "next_s": s | null}} now and then, and in the end
       {"reply": "profile", "latencies_ns": {variant: [...]}, "cpu_ns": {variant: [...]} | null,
        "unoptimised_error": sentence | null, "run_us": [...], "nodes": [...]}
    -> {"op": "unload", "graph": id}
    <- {"reply": "unload"}
    -> {"op": "bye"}
    <- {"reply": "bye"}, and the program ends

Every request may have an "id", and the replies to it then "of": [id, how many came before].

A request that fails is answered by {"reply": op, "error": sentence, "full"?: whether a GPU's memory
was}; a burst that fails by
{"burst": {"graph": id, "error": sentence}}, after which the next burst goes on. Readers ignore
fields they do not know; `protocol` changes when a field they do know changes its meaning.

With `--facts` the program prints what the device is (benchbox.agent.host.facts), and ends.
"""

PROTOCOL = 1
