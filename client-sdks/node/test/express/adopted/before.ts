import express from 'express5';

import type { Shop } from './shop.js';

/** A shop: what it is told is in its database. */
export function application(shop: Shop): express.Express {
  const app = express();
  app.use(express.json());

  app.post('/customers', (req, res) => {
    const { name, home, cards } = req.body;
    shop.customers.set(req.get('x-session') ?? '', { name, home, cards });
    res.status(201).json({ name: shop.customers.size });
  });

  app.get('/me', (req, res) => {
    res.json(shop.customers.get(req.get('x-session') ?? ''));
  });

  app.get('/cards', (req, res) => {
    res.json(shop.customers.get(req.get('x-session') ?? '')?.cards);
  });

  app.post('/orders', (req, res) => {
    shop.orders.push({ article: req.body.article, card: req.body.card });
    res.status(201).json({ order: shop.orders.length });
  });

  return app;
}
