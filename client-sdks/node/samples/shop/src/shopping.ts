import * as lunasec from '@lunasec/node/express';
import { type Request, Router } from 'express';

import { unlockForm } from './accounts.js';
import { Refused } from './forms.js';
import { type Html, html } from './html.js';
import { csrf, page, price } from './layout.js';
import { NOT_THEIRS, type Orders, PRODUCTS, productOf } from './orders.js';
import type { Customer, People } from './people.js';
import { lastFour, revealed } from './private.js';
import { only, personOf } from './visitors.js';

/** The catalogue, and what a customer orders from it. */
export function shopping(people: People, orders: Orders): Router {
  const router = Router();
  const customer = only('customer');
  router.get('/', (req, res) => page(req, res, 'For clear nights', catalogue()));

  router.get('/checkout/:product', customer, async (req, res, next) => {
    const product = productOf(req.params['product']);
    const own = await people.customer(personOf(req).id);
    if (product === undefined || own === undefined) {
      next();
      return;
    }
    const [shown, card] = await Promise.all([revealed(req, own, ['name', 'address']), lastFour(req, own.card)]);
    const body = shown && checkout(req, product.id, own, { ...shown, card });
    page(req, res, `${product.name}, ${price(product.cents)}`, body ?? unlockForm(req));
  });

  router.post('/orders', customer, lunasec.verify({ body: ['address', 'card'] }), async (req, res) => {
    const { product, address, card } = req.body as Record<'product' | 'address' | 'card', string>;
    const chosen = productOf(product);
    if (chosen === undefined) {
      throw new Refused(404, 'There is no such thing in this shop.');
    }
    if ((await orders.place(personOf(req).id, chosen, address, card)) === undefined) {
      throw new Refused(403, NOT_THEIRS);
    }
    res.redirect(303, '/orders');
  });

  router.get('/orders', customer, (req, res) => page(req, res, 'Your orders', orderBook()));
  return router;
}

function catalogue(): Html {
  const items = PRODUCTS.map(
    ({ id, name, picture, cents }) => html`<li class="card">
      <svg class="picture" viewBox="0 0 24 24"><path d="${picture}"/></svg><h2>${name}</h2><p>${price(cents)}</p>
      <a class="button" href="/checkout/${id}">Buy</a>
    </li>`,
  );
  return html`<ul class="products">${items}</ul>`;
}

/** The form carries tokens, the page shows what they stand for. */
function checkout(req: Request, product: string, own: Customer, shown: Customer): Html {
  return html`<form class="card" method="post" action="/orders">
    ${csrf(req)}
    <input type="hidden" name="product" value="${product}">
    <input type="hidden" name="address" value="${own.address}">
    <input type="hidden" name="card" value="${own.card}">
    <dl>
      <dt>To</dt><dd id="address">${shown.name}<br>${shown.address}</dd>
      <dt>Paid with</dt><dd id="card">${shown.card}</dd>
    </dl>
    <button>Order now</button>
  </form>`;
}

/** Filled by public/orders.js, through GraphQL. */
function orderBook(): Html {
  return html`<p class="notice" id="notice" hidden></p>
    <table id="orders"><thead><tr><th>Order</th><th>Goods</th><th>Price</th><th>Sent to</th><th>Card</th></tr></thead><tbody></tbody></table>
    <form class="card" id="move">
      <label>A new address <textarea name="address" rows="3" autocomplete="street-address" required></textarea></label>
      <button>Move</button> <output id="moved"></output>
    </form>
    <script type="module" src="/orders.js"></script>`;
}
