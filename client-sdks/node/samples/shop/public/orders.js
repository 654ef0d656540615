// The order book: all that is on it comes from the shop's GraphQL, in one question.
const FIELDS = 'address orders { id product cents address card }';
const csrf = document.querySelector('meta[name=csrf]').content;
const $ = (selector) => document.querySelector(selector);

async function ask(query, variables) {
  const headers = { 'content-type': 'application/json', 'x-csrf': csrf };
  const response = await fetch('/graphql', { method: 'POST', headers, body: JSON.stringify({ query, variables }) });
  if (response.redirected) {
    location.assign(response.url);
  }
  return response.json();
}

function show({ data, errors = [], extensions = {} }) {
  note(errors, extensions.lunasec);
  for (const { id, product, cents, address, card } of data?.customer?.orders ?? []) {
    const row = $('#orders tbody').insertRow();
    for (const text of [id, product, `€ ${(cents / 100).toFixed(2)}`, address ?? '••••', card]) {
      row.insertCell().textContent = text;
    }
  }
  document.body.dataset.shown = 'yes';
}

/** What is locked, failed, or could not be shown as it should. */
function note(errors, report) {
  const codes = errors.map(({ extensions }) => extensions?.code);
  if (codes.includes('grant_expired') || codes.includes('grant_denied')) {
    tell('Your addresses are locked: open your account and confirm your password.', 'locked');
  } else if (errors.length > 0) {
    tell('This did not work. Please try again later.', 'failed');
  } else if (report?.degraded) {
    const masked = report.masked.length > 0;
    tell(masked ? 'Some details cannot be shown just now.' : 'Shown from memory.', masked ? 'masked' : 'old');
  }
}

function tell(words, kind) {
  Object.assign($('#notice'), { textContent: words, hidden: false }).dataset.degraded = kind;
}

$('#move').addEventListener('submit', async (event) => {
  event.preventDefault();
  const address = new FormData(event.target).get('address');
  const query = 'mutation ($address: String!) { customer: move(address: $address) { address } }';
  const { data, errors, extensions } = await ask(query, { address });
  const later = extensions?.lunasec?.journaled ? ', safe on this machine until our storage is back' : '';
  $('#moved').textContent = errors
    ? 'Not just now; nothing was changed.'
    : `You live here: ${data.customer.address}${later}`;
});

show(await ask(`{ customer: me { ${FIELDS} } }`));
