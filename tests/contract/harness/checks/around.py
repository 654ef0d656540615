"""What `client.py` does around one request: it tries again, stands in for a value, and goes by its budget and deadline."""

import time

# What nobody can answer, and of that what was certainly not done.
AWAY = {"sidecar_unreachable", "overloaded", "storage_unavailable", "keys_unavailable", "journal_full", "deadline_exceeded"}
NOT_DONE = {"overloaded", "rate_limited"}
CONNECTIONS = 3
REVEALS = {"detokenize", "detokenize_batch"}


class Refused(Exception):
    def __init__(self, said):
        super().__init__(said["code"])
        self.said = said

    @property
    def code(self):
        return self.said["code"]


class Budget:
    """Of all calls of a client, in tenths."""

    def __init__(self, most):
        self.left = self.most = most * 10

    def earn(self):
        self.left = min(self.most, self.left + 1)

    def spend(self):
        if self.left < 10:
            return False
        self.left -= 10
        return True


class Around:
    """One call. `once` makes one request of it."""

    def __init__(self, budget, once):
        self.budget, self.once = budget, once

    def call(self, operation, arguments, options, until):
        policy = options.get("on_unavailable", "fail") if operation in REVEALS else "fail"
        attempts = options.get("attempts", 3) if policy == "fail" else 1
        try:
            answer = self.tried(operation, arguments, attempts, until)
            answer = self.whole(operation, arguments, answer, attempts, until)
        except Refused as refused:
            if policy == "fail" or refused.code not in AWAY:
                raise
            return stood_in(operation, arguments, policy, refused.code)
        if policy != "fail" and operation == "detokenize_batch":
            answer["items"] = [instead(item, policy) for item in answer["items"]]
        return answer

    def tried(self, operation, arguments, attempts, until):
        attempt, before = 0, None
        while True:
            attempt += 1
            try:
                answer = self.once(operation, arguments, until)
                self.budget.earn()
                return answer
            except Refused as refused:
                if before is not None and refused.code == "deadline_exceeded" and "status" not in refused.said:
                    raise before from None
                most = max(attempts, CONNECTIONS) if refused.code == "sidecar_unreachable" else attempts
                certain = "if_version" not in arguments or refused.code in NOT_DONE
                if not (refused.said["retryable"] and certain and attempt < most and self.may(refused, until)):
                    raise
                before = refused

    def may(self, refused, until):
        """Whether there is budget and time for one more; waits for it."""
        wait = refused.said.get("retry_after_ms", 0) / 1_000 + 0.005
        if time.monotonic() + wait > until or not self.budget.spend():
            return False
        time.sleep(wait)
        return True

    def whole(self, operation, arguments, answer, attempts, until):
        """A batch, of which items that may succeed later are asked for again; of tokenizes all, known by their places."""
        for _ in range(attempts - 1):
            items = answer.get("items", []) if operation.endswith("_batch") else []
            later = [at for at, item in enumerate(items) if item.get("error", {}).get("retryable")]
            if not later or not self.budget.spend():
                break
            if operation == "tokenize_batch":
                answer = self.once(operation, arguments, until)
                continue
            again = self.once(operation, {"tokens": [arguments["tokens"][at] for at in later]}, until)
            for at, item in zip(later, again["items"]):
                items[at] = item
        return answer


def stood_in(operation, arguments, policy, code):
    if operation == "detokenize":
        return stand_in(policy, code)
    return {"items": [{"token": token, **stand_in(policy, code)} for token in arguments["tokens"]]}


def instead(item, policy):
    code = item.get("error", {}).get("code")
    return {"token": item["token"], **stand_in(policy, code)} if code in AWAY else item


def stand_in(policy, code):
    if policy == "mask" or "mask" in policy:
        return {"masked": "••••" if policy == "mask" else policy["mask"], "reason": code}
    return {"fallback": policy["fallback"], "reason": code}
