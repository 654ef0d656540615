"""FastAPI and Starlette.

```python
app = FastAPI()
install(app, lunasec, session=lambda request: request.session.get("id"))


class Customer(Model):
    name: Annotated[Token, Rule(tokenize=True, detokenize=True)]


@app.post("/customers")
async def create(customer: Customer) -> Customer: ...
```

Bodies arrive with tokens where values were, and leave as their rules say. `LunaSecDep` is the client of a request, under
its session."""

from ..pydantic import EXPOSE, Model, Rule
from .install import LunaSecMiddleware, install
from .problems import problem_of, problem_response
from .request import LunaSecDep, RequestLunaSec, showing
from .route import LunaSecRoute

__all__ = [
    "EXPOSE",
    "LunaSecDep",
    "LunaSecMiddleware",
    "LunaSecRoute",
    "Model",
    "RequestLunaSec",
    "Rule",
    "install",
    "problem_of",
    "problem_response",
    "showing",
]
