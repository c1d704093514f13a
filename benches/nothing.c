/* A program that never uses epoll. */
int main(void)
{
    return 0;
}
