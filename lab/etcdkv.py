"""etcd through its JSON gateway: dump, restore and put keys, byte for byte.

    etcdkv.py URL dump PREFIX            JSON {key: value} (latin-1 safe, sorted)
    etcdkv.py URL restore PREFIX < dump  makes the keys under PREFIX equal to the dump
    etcdkv.py URL put < dump             adds keys
"""
import base64
import json
import sys
import urllib.request


def b64(data):
    return base64.b64encode(data).decode()


def end_of(prefix):
    """The first key behind all keys that start with prefix."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


class Etcd:
    def __init__(self, url):
        self.url = url
        self.open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def call(self, path, body):
        request = urllib.request.Request(self.url + "/v3/kv/" + path, json.dumps(body).encode())
        with self.open(request, timeout=10) as answer:
            return json.load(answer)

    def dump(self, prefix):
        rows = self.call("range", {"key": b64(prefix), "range_end": b64(end_of(prefix))}).get("kvs", [])
        decode = lambda text: base64.b64decode(text).decode("latin-1")
        return {decode(row["key"]): decode(row.get("value", "")) for row in rows}

    def put(self, pairs):
        # etcd takes at most 128 operations in a transaction.
        items = [{"request_put": {"key": b64(k.encode("latin-1")), "value": b64(v.encode("latin-1"))}}
                 for k, v in sorted(pairs.items())]
        for at in range(0, len(items), 100):
            self.call("txn", {"success": items[at:at + 100]})

    def restore(self, prefix, wanted):
        have = self.dump(prefix)
        for key in have.keys() - wanted.keys():
            self.call("deleterange", {"key": b64(key.encode("latin-1"))})
        self.put({k: v for k, v in wanted.items() if have.get(k) != v})


def main():
    etcd, what, rest = Etcd(sys.argv[1]), sys.argv[2], sys.argv[3:]
    if what == "dump":
        json.dump(etcd.dump(rest[0].encode()), sys.stdout, indent=1, sort_keys=True)
    elif what == "restore":
        etcd.restore(rest[0].encode(), json.load(sys.stdin))
    else:
        etcd.put(json.load(sys.stdin))


main()
