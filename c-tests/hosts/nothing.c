// Shows whether a compiler and its runtime libraries can make a program at all.
int main(void)
{
    return 0;
}
