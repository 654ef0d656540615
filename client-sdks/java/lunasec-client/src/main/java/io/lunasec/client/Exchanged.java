package io.lunasec.client;

/** Who waits for one exchange; called once, in the client's thread. */
interface Exchanged {
    /** It is not released: whoever reads it does so before this returns. */
    void answered(Answer answer);

    void failed(LunaSecException error);
}
