import * as lunasec from '@lunasec/node/express';
import express from 'express5';

import type { Shop } from './shop.js';

/** A shop: what it is told is in its database. */
export function application(shop: Shop): express.Express {
  const app = express();
  app.use(express.json());
  app.use(lunasec.express({ session: (req) => req.get('x-session') }));

  app.post('/customers', lunasec.tokenize(['name', 'home.street', 'cards[].number']), (req, res) => {
    const { name, home, cards } = req.body;
    shop.customers.set(req.get('x-session') ?? '', { name, home, cards });
    res.status(201).json({ name: shop.customers.size });
  });

  app.get('/me', lunasec.reveal(['name', 'home.street', 'cards[].number'], { onUnavailable: 'mask' }), (req, res) => {
    res.json(shop.customers.get(req.get('x-session') ?? ''));
  });

  app.get('/cards', lunasec.grant('[].number'), (req, res) => {
    res.json(shop.customers.get(req.get('x-session') ?? '')?.cards);
  });

  app.post('/orders', lunasec.verify({ body: 'card' }), (req, res) => {
    shop.orders.push({ article: req.body.article, card: req.body.card });
    res.status(201).json({ order: shop.orders.length });
  });

  app.use(lunasec.problems());
  return app;
}
