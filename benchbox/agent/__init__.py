"""The program that runs on the device: loads graphs, times calls, streams samples.

It needs Python, numpy and onnxruntime and nothing else, so that a board or a phone can run it; of
benchbox it imports only itself. It talks JSON Lines: one request per line on stdin, replies on
stdout, diagnostics on stderr. It ends when stdin closes.

    -> {"op": "hello", "protocol": 1, "threads": n, "cpus": [i, ...] | null}
    <- {"reply": "hello", "protocol": 1, "host": {...}, "versions": {...}, "providers": [...],
        "cpus": [...], "affinity": [...] | null, "rss_bytes": n}
    -> {"op": "load", "graph": id, "path": p, "provider": name, "seed": n,
        "inputs": [{"name", "shape", "dtype"}, ...]}
    <- {"reply": "load", "load_s": s, "first_call_s": s, "finite": bool, "outputs": [...],
        "affinity": [...] | null, "rss_bytes": n, "peak_rss_bytes": n}
    -> {"op": "time", "bursts": [[id, calls], ...]}
    <- {"burst": {"graph": id, "latencies_ns": [...], "switches": [...] | null}}   for each, then
       {"reply": "time", "peak_rss_bytes": n}
    -> {"op": "unload", "graph": id}
    <- {"reply": "unload"}
    -> {"op": "bye"}
    <- {"reply": "bye"}, and the program ends

A request that fails is answered by {"reply": op, "error": sentence}; a burst that fails by
{"burst": {"graph": id, "error": sentence}}, after which the next burst goes on. Readers ignore
fields they do not know; `protocol` changes when a field they do know changes its meaning.
"""

PROTOCOL = 1
