import { type Request, Router } from 'express';

import { Refused, text } from './forms.js';
import { type Html, html } from './html.js';
import { csrf, page, price } from './layout.js';
import { type Order, type Orders, productOf } from './orders.js';
import { grantsInTime, lastFour, revealed } from './private.js';
import { only } from './visitors.js';

/** Why an admin may look at an address: it goes along to the sidecar's audit. */
const REASONS: readonly string[] = ['delivery', 'returns', 'fraud check'];

/** What support and admins can do. */
export function staff(orders: Orders, reveal: string): Router {
  const router = Router();

  /** May see what is beside a card, and not the card: that is all its session is granted. */
  router.get('/support', only('support'), async (req, res) => {
    const latest = await req.lunasec.grantIn(await orders.latest(), '[].card?', {
      actions: ['metadata'],
      ...grantsInTime(req),
    });
    const cards = await Promise.all(latest.map(({ card }) => lastFour(req, card)));
    page(req, res, 'Support', supportView(latest, cards));
  });

  router.get('/admin', only('admin'), async (req, res) => {
    page(req, res, 'Orders to ship', toShip(req, await orders.latest()));
  });

  /** One order's address, to this session, for a short time. */
  router.post('/admin/orders/:id', only('admin'), async (req, res) => {
    const order = await orders.toShip(idOf(req));
    const purpose = text(req, 'purpose');
    if (order === undefined || !REASONS.includes(purpose)) {
      throw new Refused(400, 'Please choose an order and a reason.');
    }
    await req.lunasec.grantIn(order, ['name', 'address'], { expiresIn: reveal, actions: ['detokenize'], purpose });
    res.redirect(303, `/admin/orders/${order.id}?for=${encodeURIComponent(purpose)}`);
  });

  router.get('/admin/orders/:id', only('admin'), async (req, res, next) => {
    const order = await orders.toShip(idOf(req));
    const purpose = REASONS.find((reason) => reason === req.query['for']) ?? 'delivery';
    if (order === undefined) {
      next();
      return;
    }
    const shown = await revealed(req, order, ['name', 'address'], { purpose });
    page(req, res, `Order ${order.id}`, parcel(req, order, shown));
  });
  return router;
}

function idOf(req: Request): number {
  return Number(/^\d{1,9}$/.exec(String(req.params['id']))?.[0] ?? 0);
}

function supportView(orders: readonly Order[], cards: readonly string[]): Html {
  const rows = orders.map(
    (order, index) => html`<tr><td>${order.id}</td><td>${order.ordered_at.toISOString().slice(0, 16)}</td>
      <td>${productOf(order.product)?.name}</td><td>${price(order.cents)}</td><td class="digits">${cards[index]}</td></tr>`,
  );
  return html`<table><thead><tr><th>Order</th><th>When</th><th>Goods</th><th>Price</th><th>Card</th></tr></thead>
    <tbody>${rows}</tbody></table>`;
}

function toShip(req: Request, orders: readonly Order[]): Html {
  const rows = orders.map(
    (order) =>
      html`<tr><td>${order.id}</td><td>${productOf(order.product)?.name}</td><td>${askForm(req, order)}</td></tr>`,
  );
  return html`<table><thead><tr><th>Order</th><th>Goods</th><th>Address</th></tr></thead><tbody>${rows}</tbody></table>`;
}

function askForm(req: Request, order: Order): Html {
  return html`<form class="row" method="post" action="/admin/orders/${order.id}">
    ${csrf(req)}
    <select name="purpose">${REASONS.map((reason) => html`<option>${reason}</option>`)}</select>
    <button>Show the address</button>
  </form>`;
}

function parcel(req: Request, order: Order, shown: { name: string; address: string } | undefined): Html {
  return shown === undefined
    ? html`<div class="card" data-locked><p>The address is not shown any more.</p>${askForm(req, order)}</div>`
    : html`<dl class="card"><dt>To</dt><dd id="address">${shown.name}<br>${shown.address}</dd></dl>`;
}
