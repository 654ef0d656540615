import * as lunasec from '@lunasec/node/express';
import { type Request, type RequestHandler, Router } from 'express';

import { checkSignUp, digitsOf, Refused, text } from './forms.js';
import { type Html, html } from './html.js';
import { csrf, page } from './layout.js';
import type { Customer, People, Person } from './people.js';
import { lastFour, revealed, revokeAll } from './private.js';
import { only, personOf, type Visitors } from './visitors.js';

/** Signing up: what is private is a token before the shop does anything with it. */
export function signUp(people: People, visitors: Visitors): Router {
  const router = Router();
  router.get('/sign-up', (req, res) => page(req, res, 'Sign up', signUpForm(req)));

  const login: RequestHandler = async (req, _res, next) => {
    if (await people.isTaken(people.loginOf(text(req, 'email')))) {
      throw new Refused(409, 'There is an account with this e-mail address. Please log in.');
    }
    req.body = { ...(req.body as object), login: people.loginOf(text(req, 'email')) };
    next();
  };
  /** Beside the card, so that support need not open it. */
  const tokenizeCard: RequestHandler = (req, res, next) => {
    const metadata = { lastFour: digitsOf(text(req, 'card')).slice(-4) };
    lunasec.tokenize('card', { metadata })(req, res, next);
  };
  const own = lunasec.tokenize(['email', 'name', 'address']);
  router.post('/sign-up', checkSignUp, login, own, tokenizeCard, async (req, res) => {
    const { login, password, ...tokens } = req.body as Customer & { login: string; password: string };
    const person = await people.add(login, password, tokens);
    if (person === undefined) {
      throw new Refused(409, 'There is an account with this e-mail address. Please log in.');
    }
    await visitors.logIn(req, res, person);
    page(req, res.status(201), 'Welcome', welcome(res.locals.lunasec.journaled));
  });
  return router;
}

/** Logging in and out, and the account. */
export function accounts(people: People, visitors: Visitors): Router {
  const router = Router();
  const customer = only('customer');
  router.get('/login', (req, res) => page(req, res, 'Log in', loginForm(req)));

  router.post('/login', async (req, res) => {
    const person = await people.find(text(req, 'email'), text(req, 'password'));
    if (person === undefined) {
      throw new Refused(403, 'This is not an e-mail address and its password.');
    }
    await visitors.logIn(req, res, person);
    res.redirect(303, homeOf(person));
  });

  router.post('/logout', only('customer', 'support', 'admin'), async (req, res) => {
    await visitors.logOut(req, res);
    await revokeAll(req);
    res.redirect(303, '/');
  });

  router.post('/unlock', customer, async (req, res) => {
    if (!(await people.confirms(personOf(req).id, text(req, 'password')))) {
      throw new Refused(403, 'This is not your password.');
    }
    await visitors.setGranted(req, false);
    res.redirect(303, '/account');
  });

  router.get('/account', customer, async (req, res) => {
    const own = (await people.customer(personOf(req).id)) as Customer;
    const shown = revealed(req, own, ['name', 'email', 'address']);
    const [details, card] = await Promise.all([shown, lastFour(req, own.card)]);
    page(req, res, 'Your account', details ? account({ ...details, card }) : unlockForm(req));
  });
  return router;
}

function homeOf({ role }: Person): string {
  return { customer: '/account', support: '/support', admin: '/admin' }[role];
}

function signUpForm(req: Request): Html {
  return html`<form class="card" method="post">
    ${csrf(req)}
    <label>E-mail <input name="email" type="email" autocomplete="email" required></label>
    <label>Name <input name="name" autocomplete="name" required></label>
    <label>Address <textarea name="address" rows="3" autocomplete="street-address" required></textarea></label>
    <label>Card number <input name="card" inputmode="numeric" autocomplete="cc-number" required></label>
    <label>Password <input name="password" type="password" autocomplete="new-password" minlength="10" required></label>
    <button>Sign up</button>
  </form>`;
}

function loginForm(req: Request): Html {
  return html`<form class="card" method="post">
    ${csrf(req)}
    <label>E-mail <input name="email" type="email" autocomplete="email" required></label>
    <label>Password <input name="password" type="password" autocomplete="current-password" required></label>
    <button>Log in</button>
  </form>`;
}

function welcome(journaled: boolean): Html {
  const where = journaled
    ? html`<p class="notice" data-durability="journaled">Your details are sealed, and safe on this machine until our storage is back.</p>`
    : html`<p data-durability="stored">Your details are sealed and stored. Our database holds tokens only.</p>`;
  return html`<div class="card">${where}<a class="button" href="/">Go shopping</a></div>`;
}

/** After some time, a page that was left open shows nothing private any more. */
export function unlockForm(req: Request): Html {
  return html`<form class="card" method="post" action="/unlock" data-locked>
    ${csrf(req)}
    <p>It has been a while. Your details are locked until you confirm your password.</p>
    <label>Password <input name="password" type="password" autocomplete="current-password" required></label>
    <button>Show them</button>
  </form>`;
}

function account({ name, email, address, card }: Customer): Html {
  return html`<dl class="card">
    <dt>Name</dt><dd id="name">${name}</dd>
    <dt>E-mail</dt><dd id="email">${email}</dd>
    <dt>Address</dt><dd id="address">${address}</dd>
    <dt>Card</dt><dd id="card">${card}</dd>
  </dl>`;
}
